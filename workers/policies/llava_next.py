"""LLaVA-NeXT (1.6) AnyRes: a canvas of up to 4 tiles, cut to the picture, after the whole picture.

1. The best canvas of `image_grid_pinpoints`; the picture fitted in its middle, on black.
2. Tiles row by row; before them the whole picture squeezed into one view.
3. `spatial_unpad`: the view's tokens, then the stitched map without padding, a newline a row;
   `flat`: all tokens of all views.
4. Several pictures in a sample are padded to squares: one view and a newline each (577 tokens).
   transformers has no such rule and tiles them all.
The family has no rule for videos; ours: each of `num_frames` frames is one of several pictures.
Trade-off: 2340 tokens for 640 x 480 in place of 576; never more than 2928.
Sources: LLaVA-VL/LLaVA-NeXT llava/mm_utils.py, llava/model/llava_arch.py, llava/train/train.py;
transformers models/llava_next.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.sized import NEWLINE, Layout, Media, Sized
from workers.policies import llava_answers
from workers.policies import llava_views as views
from workers.policies.anyres import Canvases, check_canvases, next_canvases, without_largest
from workers.policies.expand2square import Rgb
from workers.policies.frames import evenly, pick
from workers.policies.layouts import part, plain
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.verdicts import check
from workers.text_config import Family


class LlavaNext(BaseModel):
    """Resolution policy of LLaVA-NeXT; `image_size = 384` gives its SigLIP encoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(
        aliases={
            "tile": "image_size",
            "pinpoints_wh": "image_grid_pinpoints",
            "merge": "mm_patch_merge_type",
            "frames_upbound": "num_frames",
        },
        derived=("feat_side",),
    )
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "llava"

    kind: Literal["llava_next"] = "llava_next"
    variant: Literal["llava_next", "hf_5.23.0"] = "llava_next"
    image_size: int = Field(default=336, ge=14, le=4096)
    """Pixels of a side of a view."""
    patch_size: int = Field(default=14, ge=1, le=14)
    image_grid_pinpoints: tuple[tuple[int, int], ...] = Field(default_factory=next_canvases)
    """As the model's config writes them; the original reads (width, height) in pixels, transformers
    (height, width), so that ties take the transposed canvas."""
    mm_patch_merge_type: Literal["spatial_unpad", "flat"] = "spatial_unpad"
    background: Rgb = Field(default_factory=views.mean_colour)
    """RGB around a padded picture."""
    num_frames: int = Field(default=8, ge=1, le=4096)
    """Most frames of a video."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_canvases(self.image_grid_pinpoints, self.image_size)
        return self

    @property
    def feat_side(self) -> int:
        """Patches of a side of a view."""
        return self.image_size // self.patch_size

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """What becomes of transparency: the variant's own conversion to RGB."""
        return "drop" if self.variant == "llava_next" else "white"

    @property
    def canvases(self) -> Canvases:
        """(width, height) of each canvas, as the variant reads them."""
        pairs = self.image_grid_pinpoints
        return pairs if self.variant == "llava_next" else [(w, h) for h, w in pairs]

    def size(self, media: Media) -> Sized:
        """Tiles, or one padded view for one of several pictures and for a frame."""
        verdicts = check(media)
        picked = pick(media, evenly(self.num_frames), verdicts)
        several = (media.images > 1) & (self.variant == "llava_next")
        padded = several | (picked.counts > 0)
        how = np.where(padded, views.PADDED, views.TILED) * verdicts.kept
        seen = views.see(self, media, how, picked)
        return llava_answers.sized(media, verdicts, seen, self._layout(media, seen))

    def smaller(self) -> Self | None:
        """Without the largest canvases, then half the frames."""
        canvases = without_largest(self.image_grid_pinpoints)
        if canvases:
            return self.model_copy(update={"image_grid_pinpoints": canvases})
        return half_the_frames(self)

    def _layout(self, media: Media, seen: views.Seen) -> Layout:
        tokens = self.feat_side**2
        if self.mm_patch_merge_type == "flat":
            return plain(seen.shown, tokens * seen.views * seen.frames)
        kept = llava_answers.unpadded(media, seen)
        single = part(seen.shown & ~seen.tiled, seen.frames, tokens, NEWLINE)
        return llava_answers.spatial(seen, kept, single)
