"""Grids of equal square tiles: which grid fits a picture, and where its tiles lie.

Sources: OpenGVLab/InternVL internvl_chat/internvl/train/dataset.py `dynamic_preprocess` and
`find_closest_aspect_ratio`. The reference takes grids of equal area in the order of a Python set;
ascending columns give the same choice wherever the two were compared.
"""

import numpy as np

from schemas.sized import Ints, Ragged


def candidate_grids(least: int, most: int) -> list[tuple[int, int]]:
    """All (columns, rows) of `least` to `most` tiles, by ascending area, then columns."""
    grids = [
        (columns, rows)
        for columns in range(1, most + 1)
        for rows in range(-(-least // columns), most // columns + 1)
    ]
    return sorted(grids, key=lambda grid: (grid[0] * grid[1], grid[0]))


def nearest_grid(size_wh: tuple[Ints, Ints], grids: list[tuple[int, int]], tile: int) -> Ints:
    """[n, 2] the (columns, rows) nearest in aspect ratio; (1, 1) where there is no candidate.

    On an exact tie of doubles a later grid wins where the picture has more than half of its pixels.
    """
    width, height = (side.astype(np.float64) for side in size_wh)
    aspect, area = width / height, width * height
    least = np.full(len(aspect), np.inf)
    choice = np.full(len(aspect), -1)
    for index, (columns, rows) in enumerate(grids):
        distance = np.abs(aspect - columns / rows)
        worthy = area > 0.5 * tile * tile * columns * rows
        choice[(distance < least) | ((distance == least) & worthy)] = index
        np.minimum(least, distance, out=least)
    return np.array([*grids, (1, 1)], np.int64).take(choice, axis=0)


def tile_boxes(grids: Ints, tile: int) -> Ragged:
    """[left, top, right, bottom] of every tile, row by row; empty for one tile or none."""
    most = int(grids.max(initial=0)) + 1
    kinds, which = np.unique(grids[:, 0] * most + grids[:, 1], return_inverse=True)
    boxes = [
        (column * tile, row * tile, (column + 1) * tile, (row + 1) * tile)
        for columns, rows in (divmod(int(kind), most) for kind in kinds)
        for row in range(rows)
        for column in range(columns)
        if columns * rows > 1
    ]
    counts = kinds // most * (kinds % most)
    table = np.array(boxes, np.int64).reshape(-1, 4)
    return Ragged.from_counts(table, np.where(counts > 1, counts, 0)).take(which)
