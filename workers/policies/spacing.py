"""Evenly spread whole numbers.

`torch.linspace(...).round()` of the references is float32, and its answer depends on the processor
(one index off in about one video of ten); the same points are computed here as exact fractions.
"""

import numpy as np

from schemas.sized import Ints


def spread(first: int, last: int, count: int) -> Ints:
    """`count` >= 2 points from first to last inclusive, each rounded half to even.

    0..4 in 4 points is 0, 4/3, 8/3, 4 -> [0, 1, 3, 4].
    """
    steps = count - 1
    whole, rest = np.divmod(first * steps + np.arange(count) * (last - first), steps)
    up = (2 * rest > steps) | ((2 * rest == steps) & (whole % 2 == 1))
    return np.asarray(whole + up, np.int64)


def spread_down(first: int, last: int, count: int) -> Ints:
    """`count` >= 1 points from first to last inclusive, each rounded down."""
    points = np.arange(count, dtype=np.int64) * (last - first) // max(count - 1, 1)
    return np.asarray(first + points, np.int64)


def linspace(length: int, count: int) -> Ints:
    """`count` points from 0 to `length` - 1, rounded down from doubles as numpy does it.

    Where i * ((length - 1) / (count - 1)) falls just short of a whole number, so does the frame;
    `spread_down` is exact.
    """
    return np.linspace(0, length - 1, count, dtype=np.int64)
