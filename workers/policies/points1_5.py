"""POINTS1.5: Qwen2-VL's picture rule of transformers 4.45, made lenient for small sides.

1. A ratio over 200 is refused only where both sides have 28 pixels; 1 x 10000 is read.
2. Each side is rounded to 28 pixels, half to even, and may become 0 for now.
3. An area over `max_pixels` is scaled down to multiples of 28, which may end in a side of 0 (as
   20 x 700000): refused. An area under `min_pixels`, 0 too, is scaled up.
4. A line end follows each picture.
Trade-off: as of Qwen2-VL, 4 to 16384 tokens a picture. The family has no videos; ours: each of
`num_frames` evenly spread frames is a picture of at most `video_max_pixels`.
Source: WePOINTS/WePOINTS wepoints/utils/images/qwen2vl_image_processor.py (`smart_resize`), with
the areas of the released model.
"""

from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from schemas.sized import Media, Ragged, Sized
from workers.policies import smart_resize
from workers.policies.drawing import drawn
from workers.policies.frames import evenly, pick
from workers.policies.layouts import equal_runs, texts_by
from workers.policies.protocol import Names
from workers.policies.qwen_defaults import tokens
from workers.policies.smaller import half_the_frames
from workers.policies.smart_resize import Sides
from workers.policies.verdicts import check, is_video
from workers.text_config import Family


class Points15(BaseModel):
    """Resolution policy of POINTS1.5."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(video_aliases={"max_pixels": "video_max_pixels"})
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "qwen2_vl"

    kind: Literal["points1_5"] = "points1_5"
    variant: Literal["wepoints"] = "wepoints"
    patch_size: int = Field(default=14, ge=1, le=256)
    merge_size: int = Field(default=2, ge=1, le=16)
    min_pixels: PositiveInt = Field(default_factory=tokens(4))
    """Of a picture, or of a frame."""
    max_pixels: PositiveInt = Field(default_factory=tokens(16384))
    num_frames: int = Field(default=8, ge=1, le=4096)
    """Most frames of a video."""
    video_max_pixels: PositiveInt = Field(default_factory=tokens(128))
    """Of a frame."""

    @model_validator(mode="before")
    @classmethod
    def _from_factor(cls, fields: Any) -> Any:
        """The reference's `factor`, patch x merge in pixels, in place of `patch_size`."""
        return smart_resize.with_patch_size(fields, cls.model_fields["merge_size"].default)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if min(self.max_pixels, self.video_max_pixels) < self.min_pixels:
            raise ValueError(
                f"max_pixels {self.max_pixels} or video_max_pixels {self.video_max_pixels} "
                f"< min_pixels {self.min_pixels}"
            )
        return self

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """transformers of that time converts to RGB, which drops transparency."""
        return "drop"

    def size(self, media: Media) -> Sized:
        """One run a picture or frame, and a line end after each."""
        verdicts = check(media)
        picked = pick(media, evenly(self.num_frames), verdicts)
        factor, rows = self.patch_size * self.merge_size, verdicts.kept
        width, height = np.where(rows, media.width, 1), np.where(rows, media.height, 1)
        high = np.where(is_video(media), self.video_max_pixels, self.max_pixels).astype(np.float64)
        sides = Sides(width, height, np.full(len(media), float(self.min_pixels)), high)
        smart_resize.refuse_ratio(sides, np.minimum(width, height) >= factor, verdicts)
        shown = verdicts.kept.copy()
        resized = smart_resize.smart_resize(sides, factor, "hf_4.45.0") * shown[:, None]
        smart_resize.refuse_empty(resized, verdicts)
        picked = picked.only(shown)
        runs = np.maximum(picked.counts, shown)
        grid = np.stack([np.ones_like(runs), *(resized[:, ::-1] // self.patch_size).T], axis=1)
        patches = grid.prod(axis=1)
        ends = {k: ("", *["\n"] * k) for k in np.unique(runs[runs > 0]).tolist()}
        layout = equal_runs(runs, patches // self.merge_size**2, texts_by(runs, ends))
        return Sized(
            drawn=drawn(resized),
            layout=layout,
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=Ragged.from_counts(np.repeat(grid, runs, axis=0), runs),
            merge=np.full(len(media), self.merge_size),
            llm_tokens=layout.embeddings + 2 * runs,
            vit_patches=patches * runs,
            kept_patches=Ragged.empty(len(media)),
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """Areas times 3/4 down to `min_pixels`, then half the frames."""
        low, most, frame = self.min_pixels, self.max_pixels, self.video_max_pixels
        if most > low or frame > low:
            areas = {"max_pixels": max(most * 3 // 4, low)}
            return self.model_copy(update=areas | {"video_max_pixels": max(frame * 3 // 4, low)})
        return half_the_frames(self)
