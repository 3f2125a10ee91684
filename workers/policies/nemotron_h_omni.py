"""Nemotron-H Omni (Nano VL V3): native resolution in blocks of 2 x 2 patches within a budget.

1. The picture's own number of patches a side, rounded up; reduced to the budget, rounded down;
   enlarged to `min_num_patches`, rounded up.
2. Each side to whole blocks, height first: up where the budget allows it, else down.
Trade-off: 256 to 3,328 tokens a picture.
Source: huggingface/transformers 5.23.0 src/transformers/models/nemotron_h_omni/
image_processing_nemotron_h_omni.py (`get_patch_grid_size`).
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Floats, Ints
from workers.policies.native import native_view
from workers.policies.protocol import Names
from workers.policies.stills import StillPolicy, Views, refuse_target
from workers.policies.verdicts import Verdicts
from workers.text_config import Family


class NemotronHOmni(StillPolicy):
    """Resolution policy of Nemotron-H Omni."""

    NAMES: ClassVar[Names] = Names(derived=("budget",))
    family: ClassVar[Family] = "nemotron"

    kind: Literal["nemotron_h_omni"] = "nemotron_h_omni"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    patch_size: int = Field(default=16, ge=1, le=256)
    merge_size: int = Field(default=2, ge=1, le=16)
    min_num_patches: int = Field(default=1024, ge=1, le=1 << 20)
    """Least patches of a picture."""
    max_num_patches: int = Field(default=13312, ge=1, le=1 << 20)
    """Most patches of a picture."""
    max_model_len: int = Field(default=16384, ge=8, le=1 << 24)
    """Tokens that the model reads, which bound a picture too."""

    @property
    def budget(self) -> int:
        """Most patches of a picture, in a sequence of its own."""
        room = (self.max_model_len - 4) * self.merge_size**2
        return min(max(room, self.min_num_patches), self.max_num_patches)

    def views(self, wh: Ints, verdicts: Verdicts) -> Views:
        """One view."""
        low, most, merge = self.min_num_patches, self.budget, self.merge_size
        height, width = np.rint(wh / self.patch_size + 0.5).T[::-1]
        factor = np.minimum(np.sqrt(most / (height * width)), 1)
        height, width = np.floor(factor * height), np.floor(factor * width)
        reduced = np.stack([width, height], axis=1).astype(np.int64) * self.patch_size
        refuse_target(wh, reduced, verdicts)  # the published code divides by it
        few = (height * width < low) & (most > low)
        factor = np.sqrt(low / np.maximum(height * width, 1))
        height = np.where(few, np.ceil(factor * height), height)
        width = np.where(few, np.ceil(factor * width), width)
        height = _whole(height, width, merge, most)
        width = _whole(width, height, merge, most)
        resized = np.stack([width, height], axis=1).astype(np.int64) * self.patch_size
        return native_view(resized, self.patch_size, merge)

    def smaller(self) -> Self | None:
        """3/4 of the most patches, down to the least."""
        less = max(self.budget * 3 // 4, self.min_num_patches)
        changed = {"max_num_patches": less}
        return self.model_copy(update=changed) if less < self.budget else None


def _whole(side: Floats, other: Floats, merge: int, most: int) -> Floats:
    """The side in whole blocks."""
    up = np.ceil(side / merge) * merge
    down = np.maximum(np.floor(side / merge) * merge, merge)
    return np.where(up * other <= most, up, np.where(up == side, side, down))
