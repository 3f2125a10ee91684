"""LLaVA-NeXT-Video (2024-04): 32 frames, pooled to 12 x 12 tokens each; pictures as in LLaVA-NeXT.

1. `num_frames` frames spread over the clip, rounded down; those of a short video repeat.
2. The middle square of a frame: shorter side to `image_size`, bicubic, then cut.
3. Pooled by `mm_spatial_pool_stride`; all features one after another, no newline.
4. A base model of 4096 positions (Vicuna) takes `rope_scaling_factor` times as many, positions
   divided by the factor (linear scaling): a setting of the model, which a pack does not carry.
Trade-off: 4608 tokens a video; what lies outside the middle square is not seen.
Sources: LLaVA-VL/LLaVA-NeXT, branch video_inference, llava/model/llava_arch.py,
llava/model/multimodal_resampler/spatial_pool.py, playground/demo/video_demo.py; transformers
models/llava_next_video.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.sized import NEWLINE, Layout, Media, Ragged, Sized
from workers.policies import llava_answers
from workers.policies import llava_views as views
from workers.policies.anyres import Canvases, check_canvases, next_canvases, without_largest
from workers.policies.expand2square import Rgb
from workers.policies.frames import pick_by
from workers.policies.layouts import part
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.spacing import linspace
from workers.policies.verdicts import check, is_video
from workers.text_config import Family

BASE_POSITIONS, TEXT_TOKENS = 4096, 1000
"""Of the base model; and what the reference sets aside for text."""


class LlavaNextVideo(BaseModel):
    """Resolution policy of LLaVA-NeXT-Video."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(
        aliases={"pinpoints_wh": "image_grid_pinpoints", "for_get_frames_num": "num_frames"},
        derived=("feat_side", "rope_scaling_factor"),
    )
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "llava"

    kind: Literal["llava_next_video"] = "llava_next_video"
    variant: Literal["llava_next_video", "hf_5.23.0"] = "llava_next_video"
    image_size: int = Field(default=336, ge=14, le=4096)
    """Pixels of a side of a view."""
    patch_size: int = Field(default=14, ge=1, le=14)
    image_grid_pinpoints: tuple[tuple[int, int], ...] = Field(default_factory=next_canvases)
    """As in `llava_next`."""
    background: Rgb = Field(default_factory=views.mean_colour)
    """RGB around a padded picture."""
    num_frames: int = Field(default=32, ge=1, le=4096)
    """Frames of every video."""
    mm_spatial_pool_stride: int = Field(default=2, ge=1, le=64)
    mm_spatial_pool_mode: Literal["average", "max"] = "average"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_canvases(self.image_grid_pinpoints, self.image_size)
        if self.pooled_side == 0:
            raise ValueError(
                f"a stride of {self.mm_spatial_pool_stride} leaves no token of a frame"
            )
        return self

    @property
    def feat_side(self) -> int:
        """Patches of a side of a view."""
        return self.image_size // self.patch_size

    @property
    def pooled_side(self) -> int:
        """Tokens of a side of a frame."""
        return self.feat_side // self.mm_spatial_pool_stride

    @property
    def rope_scaling_factor(self) -> int:
        """Linear RoPE scaling that the demo gives Vicuna for this many frames; 1 is none.

        32 frames at stride 2 need 32 x 144 + 1000 = 5608 positions, so 2 x 4096.
        """
        needed = self.num_frames * self.pooled_side**2 + TEXT_TOKENS
        return -(-needed // BASE_POSITIONS)

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """What becomes of transparency: the variant's own conversion to RGB."""
        return "drop" if self.variant == "llava_next_video" else "white"

    @property
    def canvases(self) -> Canvases:
        """(width, height) of each canvas, as the variant reads them."""
        pairs = self.image_grid_pinpoints
        return pairs if self.variant == "llava_next_video" else [(w, h) for h, w in pairs]

    def size(self, media: Media) -> Sized:
        """The middle of each frame; pictures tiled or, one of several, padded."""
        verdicts = check(media)
        views.refuse_slivers(media, is_video(media), verdicts, self.image_size)
        picked, _ = pick_by(media, lambda length, _: linspace(length, self.num_frames), verdicts)
        several = (media.images > 1) & (self.variant == "llava_next_video")
        how = np.where(several, views.PADDED, views.TILED)
        how = np.where(is_video(media), views.MIDDLE, how) * verdicts.kept
        seen = views.see(self, media, how, picked, frame_merge=self._frame_merge)
        layout = self._layout(media, seen)
        return llava_answers.sized(media, verdicts, seen, layout)

    def smaller(self) -> Self | None:
        """Without the largest canvases, then half the frames."""
        canvases = without_largest(self.image_grid_pinpoints)
        if canvases:
            return self.model_copy(update={"image_grid_pinpoints": canvases})
        return half_the_frames(self)

    @property
    def _frame_merge(self) -> int:
        stride = self.mm_spatial_pool_stride
        return 1 if self.feat_side % stride else stride

    def _layout(self, media: Media, seen: views.Seen) -> Layout:
        kept = llava_answers.unpadded(media, seen)
        padded = part(seen.how == views.PADDED, 1, self.feat_side**2, NEWLINE)
        video = part(seen.how == views.MIDDLE, 1, seen.frames * self.pooled_side**2)
        return llava_answers.spatial(seen, kept, Ragged.join([padded, video]))
