"""Grids of patches of square views: each alone, or the frames of a video as one group."""

import numpy as np

from schemas.sized import Ints, Ragged


def square_views(views: Ints, side: int) -> Ragged:
    """[n] so many views of side x side patches, [1, side, side] each."""
    grid = np.array([1, side, side], np.int64)
    return Ragged.from_counts(np.broadcast_to(grid, (int(views.sum()), 3)), views)


def square_groups(time: Ints, side: int) -> Ragged:
    """[n] one group [time, side, side] of views; none where there is no time."""
    grids = np.stack([time, np.full_like(time, side), np.full_like(time, side)], axis=1)
    return Ragged.where(time > 0, grids)
