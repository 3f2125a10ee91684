"""One view by `smart_resize`, for families that differ in factor, bounds and small sides alone."""

import numpy as np

from schemas.sized import Ints, Layout
from workers.policies.drawing import drawn
from workers.policies.layouts import plain
from workers.policies.smart_resize import Sides
from workers.policies.stills import Views, one_grid


def bounded(wh: Ints, low: float, high: float) -> Sides:
    """The sizes [n, 2] with the same bounds of area for all."""
    width, height = wh.T
    return Sides(width, height, np.full(len(wh), float(low)), np.full(len(wh), float(high)))


def native_view(resized: Ints, patch: int, merge: int, layout: Layout | None = None) -> Views:
    """One view of this size and, but for a layout of its own, a token for each block of patches."""
    tokens = (resized // (patch * merge)).prod(axis=1)
    shown = np.ones(len(resized), np.bool_)
    return Views(
        drawn=drawn(resized),
        grid_thw=one_grid(resized, patch),
        merge=merge,
        layout=layout or plain(shown, tokens),
    )
