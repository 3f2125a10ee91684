"""Oryx: pictures at their own size beside a small view of themselves, frames compressed 4 or 16 x.

1. A picture with a side below 32 is enlarged first; its high view keeps the size, floored to 32, up
   to 1536 squared pixels; its low view is made from the high one, at about 384 squared.
2. Tokens: begin, low rows, separator, high rows, end; a newline ends each row. 640 x 480: 1773.
3. A frame has 288 squared to 480 squared pixels, floored to 64; 2 x 2 patches (`video_long`: 4 x 4,
   floored to 128) become one token. Tokens: begin, each frame's rows and a separator, end.
4. All frames of a video up to 64, else 64 spread over it; of a long one 192 to 256, as drawn.
A posed view is a video of one frame. Thin pictures (from about 85 : 1) have no size at all.
`rules = "paper"` is the paper where the code departs from it: one frame a second before the spread,
and 4 x for the pictures of a sample with several (in both views, which is our reading).
Sources: Oryx-mllm/Oryx oryx/mm_utils.py, oryx/train/train.py; the arithmetic: `oryx_area.py`.
"""

from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.sized import Media, Ragged, Sized
from workers.policies import oryx_env
from workers.policies.oryx_area import AreaRule, Views, laid_out
from workers.policies.oryx_frames import long_caps, pick_up_to
from workers.policies.protocol import Names
from workers.policies.verdicts import check
from workers.text_config import Family


class Oryx(BaseModel):
    """Resolution policy of Oryx; the reference's environment may be given as `env`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(
        aliases={"VIDEO_MAXRES": "video_maxres", "VIDEO_MINRES": "video_minres"},
        video_aliases={"mode": "video", "compression": "video", "frames": "frames_upbound"},
        derived=("compression",),
    )
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "llava"

    kind: Literal["oryx"] = "oryx"
    variant: Literal["oryx"] = "oryx"
    rules: Literal["code", "paper"] = "code"
    patch_size: int = Field(default=16, ge=1, le=256)
    highres_base: int = Field(default=0, ge=0, le=16384)
    """Side of the square of a high view's area; at 0 it lies between `minres` and `maxres`."""
    highres_step: int = Field(default=32, ge=1, le=16384)
    lowres_base: int = Field(default=384, ge=1, le=16384)
    lowres_step: int = Field(default=32, ge=1, le=16384)
    maxres: int = Field(default=1536, ge=1, le=16384)
    minres: int = Field(default=0, ge=0, le=16384)
    pad2stride: bool = False
    """Pad with grey to a multiple of the step, in place of rounding down."""
    video: Literal["video", "video_long"] = "video"
    """The key of the data set that videos come under: 2 x 2 or 4 x 4 patches a token."""
    video_base: int = Field(default=0, ge=0, le=16384)
    video_step: int = Field(default=64, ge=1, le=16384)
    resize_multiple: int | None = Field(default=None, ge=1, le=16384)
    """Of the sides of a frame; otherwise `video_step`, twice that of a long video."""
    video_maxres: int = Field(default=480, ge=1, le=16384)
    video_minres: int = Field(default=288, ge=0, le=16384)
    frames_upbound: int = Field(default=64, ge=1, le=4096)
    """Most frames of a video."""
    cap_drawn: int | None = Field(default=None, ge=1, le=16384)
    """Most frames of a long video; otherwise drawn by `seed` in 3 to 4 times `frames_upbound`."""
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _from_reference(cls, fields: Any) -> Any:
        return oryx_env.settings(fields)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.maxres < self.minres or self.video_maxres < self.video_minres:
            raise ValueError("a maxres is below its minres")
        high, low, frame = (rule.step for rule in self._rules)
        pool = 2 if self.rules == "paper" else 1
        for step, block in ((high, pool), (low, pool), (frame, self._pool)):
            if step % (self.patch_size * block):
                raise ValueError(f"a step of {step} pixels is no multiple of {block} patches")
        return self

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """The reference converts to RGB, which drops transparency."""
        return "drop"

    @property
    def compression(self) -> int:
        """Patches of a single picture that become one token."""
        return 1

    def size(self, media: Media) -> Sized:
        """A picture's low view comes first; the frames of a video are one group."""
        verdicts = check(media)
        still = np.asarray(media.kind == "image", np.bool_)
        wh = np.where(verdicts.kept[:, None], media.wh, 1)
        cap = self.cap_drawn if self.video == "video_long" else self.frames_upbound
        caps = long_caps(media, self.frames_upbound, self.seed) if cap is None else cap
        paper = self.rules == "paper"
        picked = pick_up_to(caps, media, paper, verdicts)
        views = Views.of(wh, still, self._rules).refuse_empty(still, verdicts)
        picked = picked.only(verdicts.kept)
        low, high = (sizes[:, ::-1] // self.patch_size for sizes in (views.low, views.canvas))
        pool = np.where(still, 1 + (paper & (media.images > 1)), self._pool)
        layout, grids = laid_out(low, high, np.maximum(picked.counts, verdicts.kept), pool)
        return Sized(
            drawn=views.drawn(self.pad2stride),
            layout=layout,
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=grids,
            merge=pool,
            llm_tokens=layout.embeddings,
            vit_patches=grids.sums(grids.values.prod(axis=1)),
            kept_patches=Ragged.empty(len(media)),
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """Both areas of pictures times 4/9, twice; then half the frames."""
        areas = ("highres_base", "maxres", "lowres_base")
        less = {name: -(-getattr(self, name) * 2 // 3) for name in areas}
        if less["lowres_base"] >= 160 and less["maxres"] >= max(self.minres, 160):
            return self.model_copy(update=less)
        if self.frames_upbound <= 4:
            return None
        cap = self.cap_drawn and max(self.cap_drawn // 2, 1)
        fewer = {"frames_upbound": self.frames_upbound // 2, "cap_drawn": cap}
        return self.model_copy(update=fewer)

    @property
    def _pool(self) -> int:
        """Side of the block of patches that becomes one token of a frame."""
        return 4 if self.video == "video_long" else 2

    @property
    def _rules(self) -> tuple[AreaRule, AreaRule, AreaRule]:
        """Of high views, low views and frames."""
        step = self.resize_multiple or self.video_step * (self._pool // 2)
        pad = self.pad2stride
        return (
            AreaRule(self.highres_base, self.highres_step, self.minres, self.maxres, pad),
            AreaRule(self.lowres_base, self.lowres_step),
            AreaRule(self.video_base, step, self.video_minres, self.video_maxres, pad),
        )
