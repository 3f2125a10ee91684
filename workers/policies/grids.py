"""Grids of patches of square views: each alone, or the frames of a video as one group."""

import numpy as np

from schemas.sized import Ints, Ragged


def square_views(views: Ints, side: int, time: Ints | int = 1) -> Ragged:
    """[n] so many views of side x side patches, [time, side, side] each."""
    count = int(views.sum())
    if np.max(time, initial=1) == 1:
        return Ragged.from_counts(np.broadcast_to([1, side, side], (count, 3)), views)
    grids = np.full((count, 3), side)
    grids[:, 0] = np.repeat(time, views)
    return Ragged.from_counts(grids, views)


def square_groups(time: Ints, side: int) -> Ragged:
    """[n] one group [time, side, side] of views; none where there is no time."""
    return square_views((time > 0).astype(np.int64), side, time)
