"""LLaVA-OneVision and LLaVA-Video: AnyRes up to 6 x 6 tiles, features reduced to a budget.

1. A canvas of `grid_spec`, tiled and cut to the picture as in LLaVA-NeXT.
2. If the h x w features are more than 1.1² times those of `max_num_patches` views, they are reduced
   to h // times, w // times, where times = sqrt(h w / (max_num_patches side²)).
3. The whole picture in one view, then the h rows with a newline each.
4. One of several pictures is padded to a square: one view and a newline (730 tokens).
5. A frame is squeezed into one view and pooled by 2; `llava_frames.py` says which frames.
Trade-off: the slack of 1.1 and the newlines take up to 8765 tokens, not the paper's 7290.
Sources: LLaVA-VL/LLaVA-NeXT llava/mm_utils.py, llava/model/llava_arch.py, llava/train/train.py,
scripts/train/finetune_ov.sh, scripts/video/train; transformers models/llava_onevision.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.sized import NEWLINE, Media, Ragged, Sized
from workers.policies import anyres, llava_answers, llava_frames
from workers.policies import llava_views as views
from workers.policies.expand2square import Rgb
from workers.policies.frames import pick_by
from workers.policies.layouts import part
from workers.policies.protocol import Names
from workers.policies.verdicts import check, is_video
from workers.text_config import Family

STAGES: dict[str, dict[str, Any]] = {
    "onevision": {},
    "mid": {"grid_spec": "(1x1),...,(2x2)"},
    "llava_video": {
        "frames_upbound": 64,
        "force_sample": True,
        "mm_newline_position": "grid",
        "add_time_instruction": True,
    },
}


def _staged(name: str, default: object) -> Callable[[dict[str, Any]], Any]:
    """Default of a setting that depends on the stage."""
    return lambda fields: STAGES[fields["stage"]].get(name, default)


class LlavaOneVision(BaseModel):
    """Resolution policy of LLaVA-OneVision and, as a stage of it, of LLaVA-Video."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(
        aliases={
            "tile": "image_size",
            "image_grid_pinpoints": "grid_spec",
            "merge": "mm_patch_merge_type",
        },
        derived=("feat_side",),
    )
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "llava"

    kind: Literal["llava_onevision"] = "llava_onevision"
    variant: Literal["llava_onevision", "hf_5.23.0"] = "llava_onevision"
    stage: Literal["onevision", "mid", "llava_video"] = "onevision"
    """Defaults of the training scripts: single images and OneVision; the stage before them; the 7B
    of LLaVA-Video (its 72B has `frames_upbound` 32)."""
    image_size: int = Field(default=384, ge=28, le=4096)
    """Pixels of a side of a view."""
    patch_size: int = Field(default=14, ge=1, le=14)
    max_num_patches: int = Field(default=9, ge=1, le=4096)
    """N of `anyres_max_N`: the views whose tokens a picture may take."""
    grid_spec: str = Field(
        default_factory=_staged("grid_spec", "(1x1),...,(6x6)"), pattern=anyres.GRID_SPEC
    )
    """The first and the last (columns x rows), and all between; transformers swaps the two."""
    mm_patch_merge_type: Literal["spatial_unpad"] = "spatial_unpad"
    background: Rgb = Field(default_factory=views.mean_colour)
    """RGB around a padded picture."""
    video_fps: float = Field(default=1.0, ge=0.001, le=1000, allow_inf_nan=False)
    """Frames a second that are looked at, as near as whole steps come to it."""
    frames_upbound: int = Field(default_factory=_staged("frames_upbound", 32), ge=0, le=65536)
    """Most frames of a video; 0 is no bound."""
    force_sample: bool = Field(default_factory=_staged("force_sample", False))
    """Always `frames_upbound` frames; those of a short video repeat."""
    mm_spatial_pool_mode: llava_frames.PoolMode = "bilinear"
    mm_newline_position: llava_frames.Newlines = Field(
        default_factory=_staged("mm_newline_position", "one_token")
    )
    add_time_instruction: bool = Field(default_factory=_staged("add_time_instruction", False))
    """Write a sentence with duration and time of each frame after a video."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        # more tiles along a side could be reduced to a side of 0 features
        anyres.check_canvases(self.canvases, self.image_size, int(1.21 * self.feat_side))
        return self

    @property
    def feat_side(self) -> int:
        """Patches of a side of a view."""
        return self.image_size // self.patch_size

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """What becomes of transparency: the variant's own conversion to RGB."""
        return "drop" if self.variant == "llava_onevision" else "white"

    @property
    def canvases(self) -> anyres.Canvases:
        """(width, height) of each canvas in the variant's order, which breaks ties."""
        pairs = anyres.spec_canvases(self.grid_spec, self.image_size)
        return pairs if self.variant == "llava_onevision" else [(w, h) for h, w in pairs]

    @property
    def sampling(self) -> llava_frames.Sampling:
        """Which frames are looked at, and when they are."""
        return llava_frames.Sampling(self.video_fps, self.frames_upbound, self.force_sample)

    def size(self, media: Media) -> Sized:
        """Tiles, one padded view for one of several pictures, a squeezed view for a frame."""
        verdicts = check(media)
        self.sampling.refuse(media, verdicts)
        picked, lengths = pick_by(media, self.sampling.frames, verdicts)
        how = np.where(media.images > 1, views.PADDED, views.TILED)
        how = np.where(is_video(media), views.SQUEEZED, how) * verdicts.kept
        side = llava_frames.pooled_side(self.feat_side, self.mm_spatial_pool_mode)
        blocks = self.mm_spatial_pool_mode != "bilinear" and side * 2 == self.feat_side
        seen = views.see(self, media, how, picked, frame_merge=2 if blocks else 1)
        kept = llava_answers.unpadded(media, seen)
        kept = anyres.bilinear_size(kept, self.max_num_patches * self.feat_side**2)
        single = part(how == views.PADDED, 1, self.feat_side**2, NEWLINE)
        video = llava_frames.frame_part(
            picked.counts > 0, picked.counts, side, self.mm_newline_position
        )
        layout = llava_answers.spatial(seen, kept, Ragged.join([single, video]))
        if self.add_time_instruction:
            layout = replace(layout, texts=llava_frames.instructions(media, lengths, self.sampling))
        return llava_answers.sized(media, verdicts, seen, layout)

    def smaller(self) -> Self | None:
        """The tokens of one view less, then half the frames."""
        if self.max_num_patches > 1:
            return self.model_copy(update={"max_num_patches": self.max_num_patches - 1})
        if self.frames_upbound == 0:
            return self.model_copy(update={"frames_upbound": 4096, "force_sample": False})
        if self.frames_upbound > 1:
            return self.model_copy(update={"frames_upbound": self.frames_upbound // 2})
        return None
