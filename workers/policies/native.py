"""One view by `smart_resize`, for families that differ in factor, bounds and small sides alone."""

import numpy as np

from schemas.sized import Ints, Layout
from workers.policies.drawing import drawn
from workers.policies.layouts import plain
from workers.policies.smart_resize import Sides, refuse_ratio, smart_resize
from workers.policies.stills import Views, one_grid, refuse_target
from workers.policies.verdicts import Verdicts


def bounded(wh: Ints, low: float, high: float) -> Sides:
    """The sizes [n, 2] with the same bounds of area for all."""
    width, height = wh.T
    return Sides(width, height, np.full(len(wh), float(low)), np.full(len(wh), float(high)))


def read_within(wh: Ints, factor: int, areas: tuple[int, int], verdicts: Verdicts) -> Ints:
    """[n, 2] by transformers' `smart_resize`; refuses too narrow pictures."""
    sides = bounded(wh, *areas)
    refuse_ratio(sides, verdicts.kept, verdicts)
    return refuse_target(wh, smart_resize(sides, factor, "hf_5.23.0"), verdicts)


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
