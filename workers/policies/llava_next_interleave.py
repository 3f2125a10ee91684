"""LLaVA-NeXT-Interleave: several pictures, views of a scene or frames, one plain view each.

1. One of several pictures and each frame of a video is one view of 27 x 27 tokens and a newline
   (730 tokens), squeezed or, as later training code does, padded to a square.
2. A sample's only picture is tiled as in LLaVA-NeXT, with the canvases of the SigLIP encoder.
3. A video is its frames 0, s, 2s, ... where s = frames // num_frames; a shorter one is refused (the
   reference divides by zero). No position ids tell frames or views apart.
Trade-off: 730 tokens a frame against 196 of LLaVA-OneVision, which pools.
Sources: LLaVA-VL/LLaVA-NeXT llava/eval/model_vqa.py (branch interleave_inference),
playground/demo/interleave_demo.py (`sample_frames`; branch inference), llava/train/train.py (main).
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.sized import NEWLINE, Ints, Media, Sized
from workers.policies import llava_answers
from workers.policies import llava_views as views
from workers.policies.anyres import Canvases, check_canvases, next_canvases, without_largest
from workers.policies.expand2square import Rgb
from workers.policies.frames import FrameRule, pick
from workers.policies.layouts import part
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.verdicts import check, is_video
from workers.text_config import Family


class LlavaNextInterleave(BaseModel):
    """Resolution policy of LLaVA-NeXT-Interleave."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(
        aliases={"pinpoints_wh": "image_grid_pinpoints", "frames_upbound": "num_frames"},
        derived=("feat_side",),
    )
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "llava"

    kind: Literal["llava_next_interleave"] = "llava_next_interleave"
    variant: Literal["interleave_inference"] = "interleave_inference"
    image_size: int = Field(default=384, ge=14, le=4096)
    """Pixels of a side of a view."""
    patch_size: int = Field(default=14, ge=1, le=14)
    image_grid_pinpoints: tuple[tuple[int, int], ...] = Field(default_factory=next_canvases)
    """(width, height) in pixels of the canvases of a sample's only picture."""
    image_aspect_ratio: Literal["square", "pad"] = "square"
    """One of several pictures is squeezed (evaluation) or padded (training code of branch main)."""
    background: Rgb = Field(default_factory=views.mean_colour)
    """RGB around a padded picture."""
    num_frames: int = Field(default=16, ge=1, le=4096)
    """Frames of a video."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_canvases(self.image_grid_pinpoints, self.image_size)
        return self

    @property
    def feat_side(self) -> int:
        """Patches of a side of a view."""
        return self.image_size // self.patch_size

    @property
    def canvases(self) -> Canvases:
        """Of a sample's only picture."""
        return self.image_grid_pinpoints

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """The reference converts to RGB, which drops transparency."""
        return "drop"

    def size(self, media: Media) -> Sized:
        """Tiles for a single picture, else one view and a newline for each picture and frame."""
        verdicts = check(media)
        rule = FrameRule(lambda *_: self.num_frames, self.num_frames, _whole_steps)
        picked = pick(media, rule, verdicts)
        one = views.PADDED if self.image_aspect_ratio == "pad" else views.SQUEEZED
        how = np.where((media.images > 1) | is_video(media), one, views.TILED) * verdicts.kept
        seen = views.see(self, media, how, picked)
        kept = llava_answers.unpadded(media, seen)
        single = part(seen.shown & ~seen.tiled, seen.frames, self.feat_side**2, NEWLINE)
        layout = llava_answers.spatial(seen, kept, single)
        return llava_answers.sized(media, verdicts, seen, layout)

    def smaller(self) -> Self | None:
        """Without the largest canvases, then half the frames."""
        canvases = without_largest(self.image_grid_pinpoints)
        if canvases:
            return self.model_copy(update={"image_grid_pinpoints": canvases})
        return half_the_frames(self)


def _whole_steps(first: int, last: int, count: int) -> Ints:
    return first + np.arange(count, dtype=np.int64) * ((last - first + 1) // count)
