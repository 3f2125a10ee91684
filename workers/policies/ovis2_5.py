"""Ovis 2.5: Qwen2-VL's rule in blocks of 32 pixels, lenient to narrow pictures.

A side under 32 is lifted to 32, the other rounded with it; else the long side is cut to 200 times
the short one. Nothing is refused for its ratio, but a side may vanish under the cap.
Trade-off: 196 to 2,352 tokens a picture in training.
Source: AIDC-AI/Ovis ovis/model/modeling_ovis.py (`smart_resize`).
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt

from schemas.sized import Ints
from workers.policies.native import bounded, native_view
from workers.policies.smaller import three_quarters
from workers.policies.smart_resize import MAX_RATIO, smart_resize
from workers.policies.stills import StillPolicy, Views, refuse_target
from workers.policies.verdicts import Verdicts
from workers.text_config import Family


class Ovis25(StillPolicy):
    """Resolution policy of Ovis 2.5."""

    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "llava"

    kind: Literal["ovis2_5"] = "ovis2_5"
    variant: Literal["ovis2_5"] = "ovis2_5"
    patch_size: int = Field(default=16, ge=1, le=256)
    merge_size: int = Field(default=2, ge=1, le=16)
    min_pixels: PositiveInt = 448 * 448
    max_pixels: PositiveInt = 1344 * 1792

    def views(self, wh: Ints, verdicts: Verdicts) -> Views:
        """One view."""
        factor = self.patch_size * self.merge_size
        sides = bounded(_lenient(wh, factor), self.min_pixels, self.max_pixels)
        resized = smart_resize(sides, factor, "hf_4.45.0")
        return native_view(refuse_target(wh, resized, verdicts), self.patch_size, self.merge_size)

    def smaller(self) -> Self | None:
        """An area of 3/4, down to the least."""
        return three_quarters(self, "max_pixels", self.min_pixels)


def _lenient(wh: Ints, factor: int) -> Ints:
    short, long = wh.min(axis=1, keepdims=True), wh.max(axis=1, keepdims=True)
    lifted = np.rint(factor / short * long).astype(np.int64)
    capped = np.minimum(long, MAX_RATIO * short)
    low = short < factor
    new_long, new_short = np.where(low, lifted, capped), np.where(low, factor, short)
    return np.where(wh == long, np.where(wh == short, new_short, new_long), new_short)
