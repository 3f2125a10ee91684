"""Grids that cut the picture itself, and how much of its area the crops keep in a tile.

Source: AIDC-AI/Ovis ovis/model/visual_tokenizer/base_visual_tokenizer.py (`_covering_area`,
`_partition`, `_get_best_grid`). Doubles, summed crop by crop in the reference's order.
"""

import numpy as np

from schemas.sized import Floats, Ints, Ragged
from workers.policies.blocks import blocks
from workers.policies.tiles import tile_boxes


def covering_grids(wh: Ints, side: int, most: int, threshold: float) -> Ints:
    """[n, 2] rows and columns: the fewest crops that keep more than the threshold, of these the
    most area; where none does, the most area, of these the fewest crops. The first of equals wins.
    """
    pairs = [(rows, most // rows) for rows in range(1, most + 1)]
    grids = [(rows, columns) for rows, last in pairs for columns in range(1, last + 1)]
    chosen = np.ones_like(wh)
    for some in blocks(len(wh)):
        chosen[some] = _chosen(wh[some], grids, side, threshold)
    return chosen


def cut_boxes(wh: Ints, grid: Ints) -> Ragged:
    """Boxes of a grid [n, 2] of columns and rows on pictures, row by row; none of one crop. The
    last column and row take what division leaves.
    """
    numbers = tile_boxes(grid, 1)  # in crops
    each = [np.repeat(one, numbers.counts, axis=0) for one in (wh, grid, wh // grid)]
    size, count, step = (np.tile(one, 2) for one in each)
    boxes = np.where(numbers.values == count, size, numbers.values * step)
    return Ragged(boxes, numbers.offsets)


def _chosen(wh: Ints, grids: list[tuple[int, int]], side: int, threshold: float) -> Ints:
    fewest = np.full(len(wh), np.inf)
    enough, most = np.full(len(wh), -1.0), np.full(len(wh), -1.0)
    best, fallback = np.ones_like(wh), np.ones_like(wh)
    crops_of_most = np.full(len(wh), np.inf)
    for rows, columns in grids:
        kept = _kept(wh, rows, columns, side) / (wh[:, 0] * wh[:, 1])
        crops = rows * columns
        larger = (kept > most) | ((kept == most) & (crops < crops_of_most))
        fallback[larger], most[larger], crops_of_most[larger] = (rows, columns), kept[larger], crops
        better = (crops < fewest) | ((crops == fewest) & (kept > enough))
        better &= kept > threshold
        best[better], fewest[better], enough[better] = (rows, columns), crops, kept[better]
    return np.where((fewest < np.inf)[:, None], best, fallback)


def _kept(wh: Ints, rows: int, columns: int, side: int) -> Floats:
    width, height = wh.T
    across, down = width // columns, height // rows
    last_across, last_down = width - (columns - 1) * across, height - (rows - 1) * down
    areas = [
        [_area(one, other, side) for one in (across, last_across)] for other in (down, last_down)
    ]
    total = np.zeros(len(wh))
    for row in range(rows):
        for column in range(columns):
            total = total + areas[row == rows - 1][column == columns - 1]
    return total


def _area(width: Ints, height: Ints, side: int) -> Floats:
    """Pixels that a crop keeps when its long side is reduced to a tile's."""
    long, short = np.maximum(width, height), np.minimum(width, height)
    reduced = short / np.maximum(long, 1) * side * side
    return np.where(long > side, reduced, (long * short).astype(np.float64))
