"""One square view of fixed size, as CLIP and LLaVA-1.5 see a picture: resized without its ratio.

Trade-off: 576 tokens whatever the picture, so packing is trivial and small print is lost.
Sources: haotian-liu/LLaVA llava/mm_utils.py `process_images` without an aspect mode; the frames of
a video as in LLaVA-VL/LLaVA-NeXT llava/utils.py: spread, rounded down, at most all of them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.sized import Media, Ragged, Sized
from workers.policies.frames import FrameRule, pick, spread_down
from workers.policies.verdicts import check
from workers.policies.views import one_view


class Fixed(BaseModel):
    """Resolution policy of one square view, without start, end or separator tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    ALIASES: ClassVar[Mapping[str, str]] = MappingProxyType({"frames_upbound": "num_frames"})
    VIDEO_ALIASES: ClassVar[Mapping[str, str]] = MappingProxyType({})
    positions: ClassVar[str] = "1d"
    frame_prefix: ClassVar[str] = ""
    frame_suffix: ClassVar[str] = ""

    kind: Literal["fixed"] = "fixed"
    variant: Literal["square"] = "square"
    image_size: int = Field(default=336, ge=1, le=16384)
    """Pixels of a side."""
    patch_size: int = Field(default=14, ge=1, le=256)
    merge_size: int = Field(default=1, ge=1, le=16)
    num_frames: int = Field(default=8, ge=1, le=4096)
    """Most frames of a video."""

    @model_validator(mode="after")
    def _whole_patches(self) -> Self:
        factor = self.patch_size * self.merge_size
        if self.image_size % factor:
            raise ValueError(f"image_size {self.image_size} is no multiple of {factor} pixels")
        return self

    @property
    def merge(self) -> int:
        """Side of the block of patches that becomes one LLM token."""
        return self.merge_size

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """Transparency becomes white."""
        return "white"

    def size(self, media: Media) -> Sized:
        """One view a picture; the frames of a video are one group."""
        verdicts = check(media)
        rule = FrameRule(lambda length, _: min(self.num_frames, length), 1, spread_down)
        picked = pick(media, rule, verdicts)
        shown = verdicts.kept.astype(np.int64)
        side = self.image_size // self.patch_size
        square = np.repeat(shown[:, None] * self.image_size, 2, axis=1)
        time = np.maximum(picked.counts, shown)
        grid = np.stack([time, np.full_like(time, side), np.full_like(time, side)], axis=1)
        tokens = time * (side // self.merge_size) ** 2
        return Sized(
            **one_view(square),
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=Ragged.from_counts(grid[verdicts.kept], shown),
            merge=self.merge_size,
            runs=shown,
            vision_tokens=tokens,
            llm_tokens=tokens,
            vit_patches=time * side**2,
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """Half the frames, down to one."""
        if self.num_frames == 1:
            return None
        return self.model_copy(update={"num_frames": self.num_frames // 2})
