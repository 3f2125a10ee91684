"""HunYuan-VL: Qwen2-VL's rule in blocks of 32 pixels, with a newline after each row.

Behind a begin and before an end embedding.

Trade-off: 256 to 4,096 tokens a picture, and one a row.
Source: huggingface/transformers 5.23.0 src/transformers/models/hunyuan_vl/
{image_processing_pil_hunyuan_vl,processing_hunyuan_vl}.py.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt

from schemas.sized import NEWLINE, OTHER, Ints
from workers.policies.layouts import one_run, part
from workers.policies.native import native_view, read_within
from workers.policies.smaller import three_quarters
from workers.policies.stills import StillPolicy, Views
from workers.policies.verdicts import Verdicts
from workers.text_config import Family


class HunYuanVL(StillPolicy):
    """Resolution policy of HunYuan-VL."""

    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "llava"

    kind: Literal["hunyuan_vl"] = "hunyuan_vl"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    patch_size: int = Field(default=16, ge=1, le=256)
    merge_size: int = Field(default=2, ge=1, le=16)
    min_pixels: PositiveInt = 512 * 512
    max_pixels: PositiveInt = 2048 * 2048

    def views(self, wh: Ints, verdicts: Verdicts) -> Views:
        """One view."""
        factor = self.patch_size * self.merge_size
        areas = (self.min_pixels, self.max_pixels)
        resized = read_within(wh, factor, areas, verdicts)
        shown = np.ones(len(wh), np.bool_)
        columns, rows = resized.T // factor
        edge = part(shown, 1, 0, OTHER)
        layout = one_run(shown, [edge, part(shown, rows, columns, NEWLINE), edge])
        return native_view(resized, self.patch_size, self.merge_size, layout)

    def smaller(self) -> Self | None:
        """An area of 3/4, down to the least."""
        return three_quarters(self, "max_pixels", self.min_pixels)
