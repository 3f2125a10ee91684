"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: one view near the native size, sides in multiples of a factor.

1. A picture's sides are rounded to 28 pixels (Qwen3-VL 32), and scaled where its area is out of
   bounds; `variant` names whose rounding decides at extreme shapes.
2. A video is looked at twice a second, and its frames share an area; `video_variant` names whose
   frames (`qwen_frames.py`) and whose share (`qwen_areas.py`).
3. Qwen3-VL writes `<1.5 seconds>` before each pair of frames, each pair between its own marks.
Trade-off: small print stays legible, and a picture costs from 4 to 16384 tokens.
Sources: QwenLM/Qwen2-VL and QwenLM/Qwen3-VL qwen-vl-utils/src/qwen_vl_utils/vision_process.py;
huggingface/transformers src/transformers/models/{qwen2_vl,qwen2_5_vl,qwen3_vl}.
"""

from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from schemas.sized import Media, Ragged, Sized, Texts
from workers.policies import qwen_defaults, qwen_frames, qwen_video, smart_resize
from workers.policies.drawing import drawn
from workers.policies.layouts import equal_runs
from workers.policies.protocol import Names
from workers.policies.qwen_defaults import tokens
from workers.policies.qwen_frames import VideoVariant
from workers.policies.verdicts import check
from workers.text_config import Family


class Qwen2VL(BaseModel):
    """Resolution policy of the Qwen-VL family; `variant` holds for pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(
        aliases={"sample_fps": "fps", "num_frames": "nframes"},
        video_aliases={
            "min_pixels": "video_min_pixels",
            "max_pixels": "video_max_pixels",
            "shortest_edge": "video_min_pixels",
            "longest_edge": "video_max_pixels",
        },
    )
    positions: ClassVar[str] = "mrope/max_thw"
    family: ClassVar[Family] = "qwen2_vl"

    kind: Literal["qwen2_vl", "qwen2_5_vl", "qwen3_vl"] = "qwen2_vl"
    variant: smart_resize.Variant = "qwen_vl_utils"
    video_variant: VideoVariant = "qwen_vl_utils_0.0.14"
    patch_size: int = Field(default_factory=qwen_defaults.patch_size, ge=1, le=256)
    merge_size: int = Field(default=2, ge=1, le=16)
    temporal_patch_size: int = Field(default=2, ge=1, le=16)
    min_pixels: PositiveInt = Field(default_factory=tokens(4))
    max_pixels: PositiveInt = Field(default_factory=tokens(16384))
    fps: float = Field(default=2.0, gt=0, le=1000, allow_inf_nan=False)
    """Frames a second that are looked at; `nframes`, if given, goes before it."""
    nframes: PositiveInt | None = None
    min_frames: PositiveInt = 4
    max_frames: int = Field(default=qwen_frames.MAX_FRAMES, ge=2)
    """Goes before `min_frames`."""
    video_min_pixels: PositiveInt = Field(default_factory=tokens(128))
    """Of one frame; of all together in the transformers versions of qwen3_vl."""
    video_max_pixels: PositiveInt | None = None
    """The same; by default 768 tokens. In qwen-vl-utils at most its share of `total_pixels`."""
    total_pixels: PositiveInt = Field(default_factory=qwen_defaults.total_pixels)
    """Of a whole video; the reference lets `video_min_pixels` overrule it."""
    cap_pixels_per_frame: bool = False
    """Whether hf_5.23.0 holds to a frame's share of a video too, as qwen-vl-utils does."""
    hard_cap: int | None = Field(default=None, ge=64)
    """Most tokens of a video between its marks, whatever the other settings; 16384 in the paper."""
    resized_height: PositiveInt | None = None
    """With `resized_width`: stands for every medium's own size, within the default bounds."""
    resized_width: PositiveInt | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_factor(cls, fields: Any) -> Any:
        """The reference's `factor`, patch x merge in pixels, in place of `patch_size`."""
        return smart_resize.with_patch_size(fields, cls.model_fields["merge_size"].default)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        old = {"qwen_vl_utils_0.0.8", "qwen_vl_utils_0.0.11", "hf_4.45.0"}
        if self.max_pixels < self.min_pixels:
            raise ValueError(f"max_pixels {self.max_pixels} < min_pixels {self.min_pixels}")
        if (self.resized_height is None) != (self.resized_width is None):
            raise ValueError("resized_height and resized_width go together")
        if self.resized_width is not None and self.hf_videos:
            raise ValueError(f"{self.video_variant} has no resized_height and resized_width")
        if self.cap_pixels_per_frame and self.video_variant != "hf_5.23.0":
            raise ValueError(f"{self.video_variant} has no cap_pixels_per_frame")
        if self.kind == "qwen3_vl" and old & {self.variant, self.video_variant}:
            raise ValueError(f"{self.variant}, {self.video_variant}: one is older than qwen3_vl")
        return self

    @property
    def factor(self) -> int:
        """Side in pixels of the square that becomes one token."""
        return self.patch_size * self.merge_size

    @property
    def hf_videos(self) -> bool:
        """Whether videos follow transformers."""
        return self.video_variant.startswith("hf")

    @property
    def whole_videos(self) -> bool:
        """Whether the bounds of a video hold for all its frames together."""
        return self.hf_videos and self.kind == "qwen3_vl"

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """What becomes of transparency: the variant's own conversion to RGB."""
        utils = self.variant == "qwen_vl_utils" and self.kind != "qwen2_vl"
        return "white" if utils or self.variant == "hf_5.23.0" else "drop"

    def size(self, media: Media) -> Sized:
        """One view a medium; a result with a side of 0 keeps its geometry beside the reason."""
        verdicts = check(media)
        picked = qwen_frames.pick_frames(self, media, verdicts)
        resized = qwen_video.resize(self, media, picked.counts, verdicts)
        shown, step = verdicts.kept.copy(), self.temporal_patch_size
        picked = picked.only(shown)
        smart_resize.refuse_empty(resized, verdicts)
        qwen_frames.refuse_beyond(self, picked, verdicts)
        times = np.maximum(-(-picked.counts // step), 1)
        columns, rows = resized.T // self.patch_size
        patches = times * rows * columns
        runs, texts = shown.astype(np.int64), Texts.none(len(media))
        if self.kind == "qwen3_vl":
            runs, texts = runs * times, qwen_frames.timestamps(picked, media.fps, step)
        tokens = patches // self.merge_size**2 // np.maximum(runs, 1)
        return Sized(
            drawn=drawn(resized),
            layout=equal_runs(runs, tokens, texts),
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds * step,
            grid_thw=Ragged.where(shown, np.stack([times, rows, columns]).T),
            merge=np.full(len(media), self.merge_size),
            llm_tokens=runs * (tokens + 2),
            vit_patches=patches,
            kept_patches=Ragged.empty(len(media)),
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """Less area down to the lower bounds, then lower bounds of videos, then fewer frames."""
        step = qwen_video.smaller(self)
        return self.model_copy(update=step) if step else None
