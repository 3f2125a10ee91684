"""Qwen2-VL naive dynamic resolution: one view near the native size, sides in multiples of 28.

Pictures follow the named variant, videos qwen-vl-utils 0.0.14 under every variant (other samplers
are still to come): 2 frames a second, an even number, spread over the clip with both ends, and a
pixel budget that they share. `patch_size = 16` gives the picture rules of Qwen3-VL.
Sources: QwenLM/Qwen2-VL and QwenLM/Qwen3-VL qwen-vl-utils/src/qwen_vl_utils/vision_process.py
(`fetch_image`, `fetch_video`, `smart_nframes`); the variants are in `smart_resize.py`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from schemas.sized import Ints, Media, Ragged, Sized
from workers.policies import smart_resize
from workers.policies.frames import FrameRule, pick, spread
from workers.policies.verdicts import Bools, check
from workers.policies.views import one_view


def _tokens(count: int) -> Callable[[dict[str, Any]], int]:
    """Default of an area that the reference gives in tokens of patch x merge pixels squared."""
    return lambda fields: int(count * (fields["patch_size"] * fields["merge_size"]) ** 2)


class Qwen2VL(BaseModel):
    """Resolution policy of Qwen2-VL and Qwen2.5-VL, and of Qwen3-VL for pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    ALIASES: ClassVar[Mapping[str, str]] = MappingProxyType({"sample_fps": "fps"})
    VIDEO_ALIASES: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"min_pixels": "video_min_pixels", "max_pixels": "video_max_pixels"}
    )
    positions: ClassVar[str] = "mrope/max_thw"
    frame_prefix: ClassVar[str] = ""
    frame_suffix: ClassVar[str] = ""

    kind: Literal["qwen2_vl"] = "qwen2_vl"
    variant: smart_resize.Variant = "qwen_vl_utils"
    patch_size: int = Field(default=14, ge=1, le=256)
    merge_size: int = Field(default=2, ge=1, le=16)
    temporal_patch_size: int = Field(default=2, ge=1, le=16)
    min_pixels: PositiveInt = Field(default_factory=_tokens(4))
    max_pixels: PositiveInt = Field(default_factory=_tokens(16384))
    fps: float = Field(default=2.0, gt=0, le=1000, allow_inf_nan=False)
    """Frames a second that are looked at; `nframes`, if given, goes before it."""
    nframes: PositiveInt | None = None
    min_frames: PositiveInt = 4
    max_frames: int = Field(default=768, ge=2)
    """Goes before `min_frames`."""
    video_min_pixels: PositiveInt = Field(default_factory=_tokens(128))
    """Of one frame."""
    video_max_pixels: PositiveInt | None = None
    """Of one frame, below the reference's own cap: 768 tokens, or its share of `total_pixels`."""
    total_pixels: PositiveInt = Field(default_factory=_tokens(115200))
    """Of a whole video; the reference lets `video_min_pixels` overrule it."""
    resized_height: PositiveInt | None = None
    """With `resized_width`: stands for every medium's own size, within the default bounds."""
    resized_width: PositiveInt | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_pixels < self.min_pixels:
            raise ValueError(f"max_pixels {self.max_pixels} < min_pixels {self.min_pixels}")
        if (self.resized_height is None) != (self.resized_width is None):
            raise ValueError("resized_height and resized_width go together")
        return self

    @property
    def merge(self) -> int:
        """Side of the block of patches that becomes one LLM token."""
        return self.merge_size

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """What becomes of transparency: the variant's own conversion to RGB."""
        return "white" if self.variant == "hf_5.23.0" else "drop"

    def size(self, media: Media) -> Sized:
        """One view a medium; a result with a side of 0 keeps its geometry beside the reason."""
        verdicts = check(media)
        picked = pick(media, FrameRule(self._frames, self.temporal_patch_size, spread), verdicts)
        video, factor = picked.counts > 0, self.patch_size * self.merge_size
        sides = self._sides(media, verdicts.kept, picked.counts)
        smallest = np.where(video | (self.variant != "hf_4.45.0"), 1, factor)
        smart_resize.refuse_sides(sides, smallest, verdicts)
        resized = smart_resize.smart_resize(sides, factor, self.variant)
        resized[video] = smart_resize.smart_resize(sides.only(video), factor, "qwen_vl_utils")
        shown = verdicts.kept.copy()
        resized[~shown] = 0
        smart_resize.refuse_empty(resized, verdicts)
        picked = picked.only(shown)
        groups = np.maximum(picked.counts // self.temporal_patch_size, 1)
        grid = np.stack([groups, *(resized[:, ::-1] // self.patch_size).T], axis=1)
        patches = grid.prod(axis=1)
        tokens = patches // self.merge_size**2
        return Sized(
            **one_view(resized),
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds * self.temporal_patch_size,
            grid_thw=Ragged.from_counts(grid[shown], shown.astype(np.int64)),
            merge=self.merge_size,
            runs=shown.astype(np.int64),
            vision_tokens=tokens,
            llm_tokens=tokens + 2 * shown,
            vit_patches=patches,
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """Areas times 3/4 to their lower bounds, then those of frames, then half the frames."""
        token = (self.patch_size * self.merge_size) ** 2
        frame, floor = self.video_max_pixels or 768 * token, self.video_min_pixels
        if self.max_pixels > self.min_pixels or frame > floor:
            step: dict[str, int] = {
                "max_pixels": max(self.max_pixels * 3 // 4, self.min_pixels),
                "video_max_pixels": max(frame * 3 // 4, floor),
                "total_pixels": max(self.total_pixels * 3 // 4, 1),
            }
        elif floor > 16 * token:
            less = max(floor * 3 // 4, 16 * token)
            step = {"video_min_pixels": less, "video_max_pixels": less}
        elif (self.nframes or self.max_frames) > 4:
            name = "nframes" if self.nframes else "max_frames"
            step = {name: max((self.nframes or self.max_frames) // 2, 4)}
        else:
            return None
        return self.model_copy(update=step)

    def _frames(self, length: int, fps: float) -> int:
        """`smart_nframes`: an even number of frames, for a temporal patch of 2."""
        step = self.temporal_patch_size
        if self.nframes is not None:
            return round(self.nframes / step) * step
        low, high = -(-self.min_frames // step) * step, self.max_frames // step * step
        return int(min(max(length / fps * self.fps, low), high, length) // step) * step

    def _sides(self, media: Media, rows: Bools, frames: Ints) -> smart_resize.Sides:
        """The size and bounds of each picture (0 frames) or frame; 1 x 1 outside the mask."""
        token = (self.patch_size * self.merge_size) ** 2
        width = np.where(rows, self.resized_width or media.width, 1)
        height = np.where(rows, self.resized_height or media.height, 1)
        if self.resized_width is not None:
            low, high = np.full(len(rows), 4.0 * token), np.full(len(rows), 16384.0 * token)
            return smart_resize.Sides(width, height, low, high)
        share = self.total_pixels / np.maximum(frames, 1) * self.temporal_patch_size
        cap = np.maximum(np.minimum(768 * token, share), int(self.video_min_pixels * 1.05))
        cap = np.minimum(cap, self.video_max_pixels or np.inf)
        low = np.where(frames > 0, self.video_min_pixels, self.min_pixels).astype(np.float64)
        return smart_resize.Sides(width, height, low, np.where(frames > 0, cap, self.max_pixels))
