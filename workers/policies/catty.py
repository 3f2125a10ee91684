"""The canvases of POINTS 1.0: how many tiles a picture gets, and to what it is resized for them.

Sources: WePOINTS/WePOINTS wepoints/utils/images/catty.py (`find_best_slices`,
`resize_to_best_size`) and dynamic_high_resolution.py (`find_best_image_size`). Doubles, in the
reference's order of operations; of equal candidates the first.
"""

import numpy as np

from schemas.sized import Floats, Ints
from workers.policies.tiles import candidate_grids


def squeezed(size_wh: Ints, most: int) -> Ints:
    """[n, 2] pixels: the longer side cut to `most` times the shorter where it is longer."""
    width, height = size_wh.T
    ratio = width / height
    wide, high = ratio > most, ratio < 1 / most
    return np.stack(
        [np.where(wide, most * height, width), np.where(high, most * width, height)], axis=1
    )


def catty_canvases(size_wh: Ints, most: int, tile: int) -> tuple[Ints, Ints]:
    """[n, 2] (columns, rows) and pixels: the shorter side is whole tiles, the ratio is kept.

    A longer side of one tile, next to a square, has one window although two were chosen.
    """
    width, height = size_wh.T.astype(np.float64)
    ratio, area = width / height, (width / tile) * (height / tile)
    grid = _of_nearest_area(_nearest(ratio, _ratios(most), outwards=True), area, 1, most)
    canvas, high = grid * tile, width < height
    canvas[~high, 0] = np.trunc((ratio * canvas[:, 1])[~high])
    canvas[high, 1] = np.trunc((height / width * canvas[:, 0])[high])
    return np.where(canvas == tile, 1, grid), canvas


def tiled_canvases(size_wh: Ints, most: int, tile: int) -> tuple[Ints, Ints]:
    """[n, 2] (columns, rows) and pixels: whole tiles, whatever the ratio."""
    width, height = size_wh.T.astype(np.float64)
    nearest = _nearest(width / height, _ratios(most), outwards=False)
    grid = _of_nearest_area(nearest, width * height, tile * tile, most)
    return grid, grid * tile


def _ratios(most: int) -> list[float]:
    """Each ratio once, in the order of its smallest grid."""
    return list(dict.fromkeys(columns / rows for columns, rows in candidate_grids(1, most)))


def _nearest(ratio: Floats, candidates: list[float], *, outwards: bool) -> Ints:
    """[n] the index of the nearest; `outwards`: of those at least as far from 1."""
    least, choice = np.full(len(ratio), np.inf), np.zeros(len(ratio), np.int64)
    for index, candidate in enumerate(candidates):
        distance = np.abs(candidate - ratio)
        nearer = distance < least
        if outwards:
            nearer &= np.where(ratio < 1, candidate <= ratio, (candidate >= ratio) | (ratio == 1))
        choice[nearer] = index
        np.copyto(least, distance, where=nearer)
    return choice


def _of_nearest_area(choice: Ints, area: Floats, tile_area: int, most: int) -> Ints:
    """[n, 2] of the grids with the chosen ratio the one with the nearest area."""
    chosen = np.zeros((len(choice), 2), np.int64)
    for index, ratio in enumerate(_ratios(most)):
        equal = [grid for grid in candidate_grids(1, most) if grid[0] / grid[1] == ratio]
        mine = np.flatnonzero(choice == index)
        off = [np.abs(columns * rows * tile_area - area[mine]) for columns, rows in equal]
        chosen[mine] = np.array(equal)[np.argmin(off, axis=0)]
    return chosen
