"""Kimi K2.5: native resolution with black padding to whole blocks of 28 pixels.

1. Reduced, never enlarged, to `max_patches` patches, counted before padding, and to
   `max_patches_per_side` a side.
2. Padded right and below to blocks: narrow pictures may exceed the budget by that.
Trade-off: a picture keeps its pixels, up to about 4,096 tokens.
Source: huggingface/transformers 5.23.0 src/transformers/models/kimi_k25/
image_processing_kimi_k25.py (`navit_resize`).
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Ints
from workers.policies.kimi_views import kimi_views
from workers.policies.smaller import three_quarters
from workers.policies.stills import StillPolicy, Views
from workers.policies.verdicts import Verdicts
from workers.text_config import Family


class KimiK25(StillPolicy):
    """Resolution policy of Kimi K2.5."""

    family: ClassVar[Family] = "kimi"

    kind: Literal["kimi_k25"] = "kimi_k25"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    patch_size: int = Field(default=14, ge=1, le=256)
    merge_size: int = Field(default=2, ge=1, le=16)
    max_patches: int = Field(default=16384, ge=4, le=1 << 20)
    """Most patches of a picture before padding."""
    max_patches_per_side: int = Field(default=512, ge=1, le=65536)
    """Most patches of a side."""

    def views(self, wh: Ints, _: Verdicts) -> Views:
        """One view, padded."""
        most, patch = self.max_patches_per_side * self.patch_size, self.patch_size
        patches = np.maximum(wh // patch, 1).prod(axis=1)
        scale = np.minimum(np.sqrt(self.max_patches / patches), (most / wh).min(axis=1))
        scaled = np.trunc(wh * np.minimum(scale, 1)[:, None]).astype(np.int64)
        return kimi_views(np.clip(scaled, 1, most), patch, self.merge_size)

    def smaller(self) -> Self | None:
        """3/4 of the patches, down to 256."""
        return three_quarters(self, "max_patches", 256)
