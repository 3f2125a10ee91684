"""Pictures resized to an area that is drawn for each of them, in whole patches, with ratio kept.

The area is R x R pixels. NaViT found drawing R better than drawing R x R, and small R often best.
Source: Dehghani et al., Patch n' Pack, arXiv 2307.06304 ("aspect ratio preserving resolution
sampling"), without published code; roundings and draws are ours.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from schemas.sized import Floats, Ints
from workers.policies.draws import Keys, uniform

Resolution = Literal["native", "uniform_side", "uniform_area", "low_side"]
"""R is the picture's own, uniform, the root of a uniform area, or the smaller of two uniform."""


@dataclass(frozen=True)
class SideRule:
    """How R is drawn, and the least and the largest in pixels; no largest where R is native."""

    how: Resolution
    low: int
    high: int | None


def sides(rule: SideRule, size_wh: Ints, key: Keys, seed: int) -> Floats:
    """[n] the side R of each picture."""
    own = np.sqrt(size_wh[:, 0] * size_wh[:, 1])
    low, high = rule.low, rule.high
    if rule.how == "native" or high is None:
        return np.asarray(own if high is None else np.minimum(own, high), np.float64)
    share = uniform(key, seed)
    if rule.how == "uniform_area":
        return np.asarray(np.sqrt(low**2 + (high**2 - low**2) * share), np.float64)
    if rule.how == "low_side":
        share = np.minimum(share, uniform(key, seed, 1))
    return np.asarray(low + (high - low) * share, np.float64)


def at_area(size_wh: Ints, side: Floats, patch: int) -> Ints:
    """[n, 2] pixels nearest to the area side x side in multiples of the patch, half to even.

    Where the shorter side is lifted to one patch, the longer gets what is left of the area; a
    picture of the very area keeps its own sides but for the rounding.
    """
    scale = side / np.sqrt(size_wh[:, 0] * size_wh[:, 1])
    longest = np.where(scale == 1, np.inf, side * side / patch)
    scaled = np.minimum(size_wh * scale[:, None], longest[:, None])
    return np.asarray(np.maximum(np.rint(scaled / patch), 1) * patch, np.int64)
