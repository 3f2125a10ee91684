"""The canvas of tiles that a picture fits best by scale, and its size on that canvas.

Sources: huggingface/transformers 5.23.0 src/transformers/models/llama4/image_processing_llama4.py
(`get_best_fit`, `find_supported_resolutions`), models/mllama/image_processing_pil_mllama.py
(`get_optimal_tiled_canvas`), models/cohere2_vision/image_processing_cohere2_vision.py and
models/molmo2/image_processing_molmo2.py (`select_tiling`), which differ in precision alone.
"""

from collections.abc import Sequence

import numpy as np

from schemas.sized import Ints
from workers.policies.blocks import blocks

Number = type[np.float32] | type[np.float64]


def best_fit(
    wh: Ints,
    canvases: Sequence[tuple[int, int]],
    number: Number = np.float64,
    largest: bool = False,
) -> Ints:
    """[n] the index of the (width, height) canvas for pictures of [n, 2] pixels.

    A picture's scale on a canvas is the smaller of the two sides' scales. The least scale from 1 on
    wins (`largest`: the largest), else the largest below 1; of equal scales the smaller canvas,
    then the first.
    """
    choice = np.zeros(len(wh), np.int64)
    areas = np.array([width * height for width, height in canvases])
    for rows in blocks(len(wh)):
        width, height = wh[rows].T.astype(number)
        best = np.full(len(width), -np.inf, number)
        mine = choice[rows]
        for index, canvas in enumerate(canvases):
            with np.errstate(divide="ignore"):
                scale = np.minimum(number(canvas[0]) / width, number(canvas[1]) / height)
            both = (scale >= 1) & (best >= 1) & (not largest)
            better = np.where(both, scale < best, scale > best)
            better |= (scale == best) & (areas[index] < areas[mine])
            mine[better] = index
            best[better] = scale[better]
    return choice


def fit_in_box(wh: Ints, box: Ints) -> Ints:
    """[n, 2] the largest size of the same ratio in a box: one side exact, the other rounded down,
    at least 1.
    """
    scale = box / wh
    wide = scale[:, 0] < scale[:, 1]
    other = np.floor(wh * scale[:, ::-1]).astype(np.int64)
    exact = np.stack([wide, ~wide], axis=1)
    return np.where(exact, box, np.minimum(np.maximum(other, 1), box))


def grids_by_ratio(most: int) -> dict[float, list[tuple[int, int]]]:
    """All pairs of factors of `most` down to 1 tiles by their quotient, in order of appearance."""
    groups: dict[float, list[tuple[int, int]]] = {}
    for tiles in range(most, 0, -1):
        for one in range(1, tiles + 1):
            if tiles % one == 0:
                groups.setdefault(one / (tiles // one), []).append((one, tiles // one))
    return groups
