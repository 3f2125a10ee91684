"""LLaVA-HR: one square of 1024 pixels, which a ConvNeXt reads and, made smaller, a ViT beside it.

1. `pad`: the picture in the middle of a square of CLIP's mean colour, resized to the square.
   `square`: the shorter side becomes the square's, and the middle is cut out, so the ends are lost.
2. The slow branch sees the square at a stride of 32; the model itself makes the fast branch's view
   of max(side / 32 * 14, 336) pixels, in patches of 14.
3. The slow features are added to the fast ones: a token for each patch of the fast view. The code
   wants the one count to divide the other, so some sides below 768 do not work.
A frame of a video is such a picture: our choice, as the code has no rule for videos.
Trade-off: 1024 tokens read 1024 pixels, where a ViT-L/14 alone would need 5329.
Sources: luogen1996/LLaVA-HR llava_hr/mm_utils.py (`process_images`, `expand2square`),
llava_hr/model/multimodal_encoder/multipath_encoder_wapper.py; the centre crop is
`CLIPImageProcessor` of huggingface/transformers.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.reasons import Reason
from schemas.sized import Drawn, Ints, Media, Ragged, Sized
from workers.policies.drawing import LAST, Thumbnail, center_in, drawn, square
from workers.policies.expand2square import CLIP_MEAN, expand2square
from workers.policies.frames import evenly, pick
from workers.policies.grids import square_groups
from workers.policies.layouts import one_run, part
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.verdicts import MAX_SIDE, Verdicts, check
from workers.text_config import Family


class LlavaHR(BaseModel):
    """Resolution policy of LLaVA-HR."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(derived=("patch_size", "slow_stride"))
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "llava"

    kind: Literal["llava_hr"] = "llava_hr"
    variant: Literal["llava_hr"] = "llava_hr"
    input_image_size: int = Field(default=1024, ge=32, le=16384)
    """Pixels of the square's side."""
    image_aspect_ratio: Literal["pad", "square"] = "pad"
    num_frames: int = Field(default=8, ge=1, le=4096)
    """Most frames of a video."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        slow, fast = self.slow_grid**2, self.fast_grid**2
        named = f"input_image_size {self.input_image_size}"
        if self.input_image_size % self.slow_stride:
            raise ValueError(f"{named} is no multiple of {self.slow_stride}")
        if slow % fast and fast % slow:
            raise ValueError(f"{named}: of {slow} slow and {fast} fast features neither divides")
        return self

    @property
    def patch_size(self) -> int:
        """Pixels of a patch's side in the fast view."""
        return 14

    @property
    def slow_stride(self) -> int:
        """Pixels of the square that make one slow feature, along a side."""
        return 32

    @property
    def slow_grid(self) -> int:
        """Slow features along a side."""
        return self.input_image_size // self.slow_stride

    @property
    def fast_size(self) -> int:
        """Pixels of the fast view's side, which the model makes from the square."""
        return max(int(self.input_image_size / self.slow_stride * self.patch_size), 336)

    @property
    def fast_grid(self) -> int:
        """Tokens along a side."""
        return self.fast_size // self.patch_size

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """The reference converts to RGB, which drops transparency."""
        return "drop"

    def size(self, media: Media) -> Sized:
        """The square, then the model's own fast view; the frames of a video are one group."""
        verdicts = check(media)
        picked = pick(media, evenly(self.num_frames), verdicts)
        made = self._draw(media, verdicts)
        shown, picked = verdicts.kept, picked.only(verdicts.kept)
        time = np.maximum(picked.counts, shown)
        sides = (self.slow_grid, self.fast_grid)
        layout = one_run(shown, [part(shown, time * self.fast_grid, self.fast_grid)])
        return Sized(
            drawn=made,
            layout=layout,
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=Ragged.join([square_groups(time, side) for side in sides]),
            merge=np.ones(len(media), np.int64),
            llm_tokens=layout.embeddings,
            vit_patches=time * sum(side**2 for side in sides),
            kept_patches=Ragged.empty(len(media)),
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """Half the frames, down to one; a picture always costs the same."""
        return half_the_frames(self)

    def _draw(self, media: Media, verdicts: Verdicts) -> Drawn:
        size_wh = media.wh
        if self.image_aspect_ratio == "square":
            size_wh = self._shorter_side(size_wh, verdicts)
        shown, side = verdicts.kept, self.input_image_size
        size_wh = size_wh * shown[:, None]
        fast = Thumbnail(where=shown * LAST, wh=square(self.fast_size, shown), of="model")
        if self.image_aspect_ratio == "square":
            place = center_in(size_wh, np.full_like(size_wh, side))
            box = np.concatenate([place, place + side], axis=1)
            crops = Ragged.where(size_wh[:, 0] != size_wh[:, 1], box)
            return drawn(size_wh, crops=crops, thumbnail=fast)
        canvas = expand2square(size_wh, CLIP_MEAN)
        return drawn(size_wh, canvas=canvas, view_wh=square(side, shown), thumbnail=fast)

    def _shorter_side(self, size_wh: Ints, verdicts: Verdicts) -> Ints:
        """[n, 2] resized to the shorter side; refuses what becomes longer than any that is read."""
        size_wh = np.where(verdicts.kept[:, None], size_wh, 1)
        shorter, longer = np.sort(size_wh, axis=1).T
        long = (self.input_image_size * longer / shorter).astype(np.int64)
        verdicts.refuse(
            long > MAX_SIDE,
            Reason.RATIO_TOO_EXTREME,
            lambda row: f"{shorter[row]} x {longer[row]} pixels resize to {long[row]} along",
        )
        return np.where(size_wh == shorter[:, None], self.input_image_size, long[:, None])
