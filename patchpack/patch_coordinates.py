"""Coordinates of the patches of a picture, for factorised position embeddings.

NaViT (arXiv 2307.06304) embeds row and column apart and adds the two. Absolute coordinates index a
table, whose length bounds the resolution; fractional ones, index / side, lie in [0, 1) for every
size and lose the aspect ratio. lucidrains/vit-pytorch has the absolute ones (`posemb_grid`).
Patches are numbered row by row, so `absolute(4, 6)[kept]` are the coordinates of the kept ones.
"""

import numpy as np
import numpy.typing as npt


def absolute(rows: int, columns: int) -> npt.NDArray[np.int64]:
    """[rows * columns, 2] the (row, column) of every patch."""
    places = np.arange(rows * columns, dtype=np.int64)
    return np.stack([places // max(columns, 1), places % max(columns, 1)], axis=1)


def fractional(rows: int, columns: int) -> npt.NDArray[np.float64]:
    """[rows * columns, 2] the (row / rows, column / columns) of every patch, each in [0, 1)."""
    return absolute(rows, columns) / np.array([max(rows, 1), max(columns, 1)], np.float64)


def nearest(rows: int, columns: int, side: int) -> npt.NDArray[np.int64]:
    """[rows * columns] the entry of a learned side x side table for every patch, row by row: that
    of floor(index * side / patches) on each axis.

    As Idefics2 and MiniCPM-V take it (transformers `get_vision_nearest_position_ids`, which
    computes in float32 and at times falls beside the edge); exact here.
    """
    places = absolute(rows, columns) * side // np.array([max(rows, 1), max(columns, 1)])
    ids: npt.NDArray[np.int64] = places[:, 0] * side + places[:, 1]
    return ids
