"""Grids that cut the picture itself, and how much of its area the crops keep in a tile.

Source: AIDC-AI/Ovis ovis/model/visual_tokenizer/base_visual_tokenizer.py
(`preprocess_image`). Doubles, summed crop by crop in the reference's order.
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
    width, height = np.ascontiguousarray(wh.T)
    area, count = (width * height).astype(np.float64), len(wh)
    enough, most = np.full(count, -1.0), np.full(count, -1.0)
    fewest, least = np.full(count, np.inf), np.full(count, np.inf)
    best, fallback = np.full(count, -1), np.zeros(count, np.int64)
    for index, (rows, columns) in enumerate(grids):
        kept = _kept(width, height, (rows, columns), side) / area
        crops = rows * columns
        larger = (kept > most) | ((kept == most) & (crops < least))
        better = (crops < fewest) | ((crops == fewest) & (kept > enough))
        better &= kept > threshold
        for found, numbers, shares, where in (
            (fallback, least, most, larger),
            (best, fewest, enough, better),
        ):
            np.copyto(found, index, where=where)
            np.copyto(numbers, crops, where=where)
            np.copyto(shares, kept, where=where)
    return np.array(grids, np.int64)[np.where(best < 0, fallback, best)]


def _kept(width: Ints, height: Ints, grid: tuple[int, int], side: int) -> Floats:
    rows, columns = grid
    across, down = width // columns, height // rows
    last_across, last_down = width - (columns - 1) * across, height - (rows - 1) * down
    areas: dict[tuple[bool, bool], Floats] = {}
    total = np.zeros(len(width))
    for row in range(rows):
        for column in range(columns):
            last = row == rows - 1, column == columns - 1
            if last not in areas:
                wide, high = last_across if last[1] else across, last_down if last[0] else down
                areas[last] = _area(wide, high, side)
            total += areas[last]
    return total


def _area(width: Ints, height: Ints, side: int) -> Floats:
    """Pixels that a crop keeps when its long side is reduced to a tile's."""
    long = np.maximum(width, height).astype(np.float64)
    short = np.minimum(width, height).astype(np.float64)
    reduced = short / np.maximum(long, 1) * side * side
    return np.where(long > side, reduced, long * short)
