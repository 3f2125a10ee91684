"""DeepSeek-VL: the whole picture on one square of 384 or 1024 pixels, 576 tokens in every case.

1. The longer side becomes the square's, the shorter keeps the ratio but at least 14 pixels;
   `deepseek_vl` truncates the quotient times the side, the `hf_` variants round another product.
2. Pasted in the middle of the square, on the mean colour.
3. Of 1024 pixels (the hybrid tower) there is a second view of 384: SAM-B reads 64 x 64 patches and
   SigLIP-L 24 x 24, and features of both share the 24 x 24 tokens. `deepseek_vl` resizes the padded
   tensor inside the model, `hf_5.23.0_hybrid` the padded canvas, BICUBIC.
A frame of a video is such a picture: our choice, as the code has no rule for videos.
Trade-off: the cost of a picture is known at once; a page of 2339 pixels is read at 1024.
Sources: deepseek-ai/DeepSeek-VL deepseek_vl/models/{image_processing_vlm,clip_encoder,sam}.py;
huggingface/transformers src/transformers/models/deepseek_vl/image_processing_pil_deepseek_vl.py
and deepseek_vl_hybrid/image_processing_pil_deepseek_vl_hybrid.py of 5.23.0.
"""

from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.sized import Bools, Ints, Media, Ragged, Sized
from workers.policies.drawing import LAST, Thumbnail, drawn, square
from workers.policies.expand2square import expand2square
from workers.policies.frames import evenly, pick
from workers.policies.grids import square_groups
from workers.policies.layouts import one_run, part
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.verdicts import check
from workers.text_config import Family

Variant = Literal["deepseek_vl", "hf_5.23.0", "hf_5.23.0_hybrid"]
Mean = tuple[float, float, float]

_LOW, _HIGH = 384, 1024
_PATCH = 16
_TOKENS = _LOW // _PATCH
"""Rows and columns of tokens, whichever tower."""


def _of_variant(fields: dict[str, Any]) -> Literal[384, 1024]:
    return 1024 if fields["variant"] == "hf_5.23.0_hybrid" else 384


class DeepSeekVL(BaseModel):
    """Resolution policy of DeepSeek-VL 1.3B (384 pixels) and 7B (1024)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names()
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "deepseek_vl"

    kind: Literal["deepseek_vl"] = "deepseek_vl"
    variant: Variant = "deepseek_vl"
    image_size: Literal[384, 1024] = Field(default_factory=_of_variant)
    """Pixels of the square's side; 1024 has the hybrid tower."""
    min_size: int = Field(default=14, ge=1, le=384)
    """Pixels of the shorter side at the least."""
    image_mean: Mean | None = (0.48145466, 0.4578275, 0.40821073)
    """Mean colour from 0 to 1 of the published code's default; None is 127 of 255."""
    num_frames: int = Field(default=8, ge=1, le=4096)
    """Most frames of a video."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.variant != "deepseek_vl" and self.image_size != _of_variant(vars(self)):
            raise ValueError(f"image_size {self.image_size} does not go with {self.variant}")
        if self.image_mean is not None and not all(0 <= one <= 1 for one in self.image_mean):
            raise ValueError(f"image_mean {self.image_mean} does not lie in 0..1")
        return self

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """The reference converts to RGB, which drops transparency."""
        return "drop"

    def size(self, media: Media) -> Sized:
        """One square; the low view of a hybrid tower is last. Frames of a video are one group."""
        verdicts = check(media)
        picked = pick(media, evenly(self.num_frames), verdicts)
        shown = verdicts.kept
        time = np.maximum(picked.counts, shown)
        resized = self._resized(media, shown)
        low = shown & (self.image_size == _HIGH)
        sides = [self.image_size // _PATCH] + ([_TOKENS] if self.image_size == _HIGH else [])
        layout = one_run(shown, [part(shown, time * _TOKENS, _TOKENS)])
        return Sized(
            drawn=drawn(
                resized,
                canvas=expand2square(resized, self._rgb),
                thumbnail=Thumbnail(
                    where=low * LAST,
                    wh=square(_LOW, low),
                    of="model" if self.variant == "deepseek_vl" else "canvas",
                ),
            ),
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
        """Half the frames, down to one."""
        return half_the_frames(self)

    @property
    def _rgb(self) -> tuple[int, int, int]:
        red, green, blue = self.image_mean or (0.5, 0.5, 0.5)
        return int(red * 255), int(green * 255), int(blue * 255)

    def _resized(self, media: Media, shown: Bools) -> Ints:
        """[n, 2] the picture on the square; zeros for a refused row."""
        sides = media.wh
        sides = np.where(shown[:, None], sides, 1)
        longest = sides.max(axis=1, initial=1)[:, None]
        if self.variant == "deepseek_vl":
            fit = np.trunc(sides / longest * self.image_size)
        else:
            fit = np.rint(sides * (self.image_size / longest))
        return np.asarray(np.maximum(fit, self.min_size) * shown[:, None], np.int64)
