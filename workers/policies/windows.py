"""Windows of a canvas, row by row: side by side, or overlapping where their stride is shorter."""

import numpy as np

from schemas.sized import Ints, Ragged

_BLOCK = 1 << 12
"""Canvases that are cut at once, so that their boxes stay in the cache."""


def window_boxes(grid: Ints, stride_wh: Ints, window_wh: Ints) -> Ragged:
    """[left, top, right, bottom] of `grid` [n, 2] (columns, rows) windows of each canvas."""
    counts = grid.prod(axis=1)
    boxes = Ragged.from_counts(np.empty((int(counts.sum()), 4), np.int64), counts)
    canvases = np.concatenate([stride_wh, window_wh, grid[:, :1]], axis=1)
    for start in range(0, len(grid), _BLOCK):
        block = slice(start, start + _BLOCK)
        first = boxes.offsets[:-1][block]
        canvas = np.repeat(canvases[block], counts[block], axis=0)
        number = np.arange(first[0], first[0] + len(canvas)) - np.repeat(first, counts[block])
        row, column = np.divmod(number, canvas[:, 4])
        box = boxes.values[first[0] : first[0] + len(canvas)]
        box[:, :2] = np.stack([column, row], axis=1) * canvas[:, :2]
        box[:, 2:] = box[:, :2] + canvas[:, 2:4]
    return boxes
