"""PaddleOCR-VL: Qwen2-VL's rule for pictures whose small side is lifted to 28 pixels first.

Lifted, a picture may exceed the ratio of 200 that is refused.
Trade-off: 188 to 3,009 tokens a picture.
Source: huggingface/transformers 5.23.0 src/transformers/models/paddleocr_vl/
image_processing_pil_paddleocr_vl.py.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt

from schemas.sized import Ints
from workers.policies.native import native_view, read_within
from workers.policies.smaller import three_quarters
from workers.policies.stills import StillPolicy, Views
from workers.policies.verdicts import Verdicts
from workers.text_config import Family


class PaddleOCRVL(StillPolicy):
    """Resolution policy of PaddleOCR-VL."""

    positions: ClassVar[str] = "mrope/max_thw"
    family: ClassVar[Family] = "ernie_vl"

    kind: Literal["paddleocr_vl"] = "paddleocr_vl"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    patch_size: int = Field(default=14, ge=1, le=256)
    merge_size: int = Field(default=2, ge=1, le=16)
    min_pixels: PositiveInt = 384 * 384
    max_pixels: PositiveInt = 1536 * 1536

    def views(self, wh: Ints, verdicts: Verdicts) -> Views:
        """One view."""
        factor = self.patch_size * self.merge_size
        areas = (self.min_pixels, self.max_pixels)
        resized = read_within(_lifted(wh, factor), factor, areas, verdicts)
        return native_view(resized, self.patch_size, self.merge_size)

    def smaller(self) -> Self | None:
        """An area of 3/4, down to the least."""
        return three_quarters(self, "max_pixels", self.min_pixels)


def _lifted(wh: Ints, factor: int) -> Ints:
    """The height first, then the width as that left it."""
    width, height = wh.T
    low = height < factor
    width = np.where(low, np.rint(width * factor / height), width)
    height = np.where(low, factor, height)
    narrow = width < factor
    height = np.where(narrow, np.rint(height * factor / width), height)
    return np.stack([np.where(narrow, factor, width), height], axis=1).astype(np.int64)
