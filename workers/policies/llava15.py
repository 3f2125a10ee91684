"""LLaVA-1.5 with `image_aspect_ratio = pad`: one view of the picture padded to a square.

1. Put the picture in the middle of the smallest square, on the mean colour of CLIP.
2. Resize the square to `image_size`, bicubic; one run of (image_size / patch_size)² tokens.
The family has no rule for videos; ours: each of `num_frames` evenly spread frames is such a view.
Trade-off: 576 tokens whatever the picture, and half of them see only padding in a 2:1 panorama.
Sources: haotian-liu/LLaVA llava/mm_utils.py (`expand2square`, `process_images`).
"""

from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from schemas.sized import Media, Sized
from workers.policies import llava_answers
from workers.policies import llava_views as views
from workers.policies.anyres import Canvases
from workers.policies.expand2square import CLIP_MEAN, Rgb
from workers.policies.frames import evenly, pick
from workers.policies.layouts import plain
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.verdicts import check
from workers.text_config import Family


class Llava15(BaseModel):
    """Resolution policy of LLaVA-1.5."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(
        aliases={"size": "image_size", "frames_upbound": "num_frames"}, derived=("feat_side",)
    )
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "llava"

    kind: Literal["llava15"] = "llava15"
    variant: Literal["llava15"] = "llava15"
    image_size: int = Field(default=336, ge=14, le=4096)
    """Pixels of a side of the view."""
    patch_size: int = Field(default=14, ge=1, le=14)
    background: Rgb = CLIP_MEAN
    """RGB around the picture."""
    num_frames: int = Field(default=8, ge=1, le=4096)
    """Most frames of a video."""

    @property
    def feat_side(self) -> int:
        """Patches of a side of the view."""
        return self.image_size // self.patch_size

    @property
    def canvases(self) -> Canvases:
        """None: no picture is tiled."""
        return ()

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """The reference converts to RGB, which drops transparency."""
        return "drop"

    def size(self, media: Media) -> Sized:
        """One view a picture; the frames of a video are one group."""
        verdicts = check(media)
        picked = pick(media, evenly(self.num_frames), verdicts)
        seen = views.see(self, media, views.PADDED * verdicts.kept, picked)
        layout = plain(seen.shown, seen.frames * self.feat_side**2)
        return llava_answers.sized(media, verdicts, seen, layout)

    def smaller(self) -> Self | None:
        """Half the frames, down to one."""
        return half_the_frames(self)
