"""ERNIE 4.5 VL: Qwen2-VL's rule with bounds of its own.

Trade-off: 4 to 6,177 tokens a picture.
Source: huggingface/transformers 5.23.0 src/transformers/models/ernie4_5_vl_moe/
image_processing_pil_ernie4_5_vl_moe.py.
"""

from typing import ClassVar, Literal, Self

from pydantic import Field, PositiveInt

from schemas.sized import Ints
from workers.policies.native import native_view, read_within
from workers.policies.smaller import three_quarters
from workers.policies.stills import StillPolicy, Views
from workers.policies.verdicts import Verdicts
from workers.text_config import Family


class Ernie45VL(StillPolicy):
    """Resolution policy of ERNIE 4.5 VL."""

    positions: ClassVar[str] = "mrope/max_thw"
    family: ClassVar[Family] = "ernie_vl"

    kind: Literal["ernie4_5_vl"] = "ernie4_5_vl"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    patch_size: int = Field(default=14, ge=1, le=256)
    merge_size: int = Field(default=2, ge=1, le=16)
    min_pixels: PositiveInt = 56 * 56
    max_pixels: PositiveInt = 28 * 28 * 6177

    def views(self, wh: Ints, verdicts: Verdicts) -> Views:
        """One view."""
        factor = self.patch_size * self.merge_size
        areas = (self.min_pixels, self.max_pixels)
        resized = read_within(wh, factor, areas, verdicts)
        return native_view(resized, self.patch_size, self.merge_size)

    def smaller(self) -> Self | None:
        """An area of 3/4, down to the least."""
        return three_quarters(self, "max_pixels", self.min_pixels)
