"""Gemma 4: every picture scaled to a budget of soft tokens, in blocks of 48 pixels.

1. Scaled, enlarged too, to `max_soft_tokens` blocks of 3 x 3 patches; sides rounded down to blocks.
2. A side that vanishes becomes one block, the other as many as the ratio, within the budget.
Trade-off: nearly the whole budget for every picture, whatever its size.
Source: huggingface/transformers 5.23.0 src/transformers/models/gemma4/
image_processing_pil_gemma4.py (`get_aspect_ratio_preserving_size`).
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Ints
from workers.policies.drawing import drawn
from workers.policies.layouts import plain
from workers.policies.stills import StillPolicy, Views, one_grid, refuse_target
from workers.policies.verdicts import Verdicts
from workers.text_config import Family


class Gemma4(StillPolicy):
    """Resolution policy of Gemma 4."""

    family: ClassVar[Family] = "gemma4"

    kind: Literal["gemma4"] = "gemma4"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    patch_size: int = Field(default=16, ge=1, le=256)
    pooling_kernel_size: int = Field(default=3, ge=1, le=16)
    """Patches of a side of the block that becomes one token."""
    max_soft_tokens: int = Field(default=280, ge=1, le=65536)
    """Most tokens of a picture: 70, 140, 280, 560 or 1120."""

    def views(self, wh: Ints, verdicts: Verdicts) -> Views:
        """One view."""
        unit, most = self.patch_size * self.pooling_kernel_size, self.max_soft_tokens
        target = most * self.pooling_kernel_size**2 * self.patch_size**2
        factor = np.sqrt(target / (wh[:, 1] * wh[:, 0]))
        blocks = np.floor(factor[:, None] * wh / unit).astype(np.int64)
        other = np.minimum(wh // wh[:, ::-1], most)
        missing = blocks == 0
        blocks = np.where(missing[:, ::-1] & ~missing, other, blocks)
        blocks = np.where(missing & ~missing[:, ::-1], 1, blocks)
        resized = refuse_target(wh, blocks * unit, verdicts)
        return Views(
            drawn=drawn(resized),
            grid_thw=one_grid(resized, self.patch_size),
            merge=self.pooling_kernel_size,
            layout=plain(np.ones(len(wh), np.bool_), blocks.prod(axis=1)),
        )

    def smaller(self) -> Self | None:
        """Half the budget, down to 70."""
        if self.max_soft_tokens < 140:
            return None
        return self.model_copy(update={"max_soft_tokens": self.max_soft_tokens // 2})
