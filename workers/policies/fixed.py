"""One square view of fixed size, as CLIP and LLaVA-1.5 see a picture: resized without its ratio.

Trade-off: 576 tokens whatever the picture, so packing is trivial and small print is lost.
Sources: haotian-liu/LLaVA llava/mm_utils.py `process_images` without an aspect mode; the frames of
a video as in LLaVA-VL/LLaVA-NeXT llava/utils.py: spread, rounded down, at most all of them.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.sized import Media, Ragged, Sized
from workers.policies.drawing import drawn, square
from workers.policies.frames import evenly, pick
from workers.policies.grids import square_groups
from workers.policies.layouts import plain
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.verdicts import check
from workers.text_config import Family


class Fixed(BaseModel):
    """Resolution policy of one square view, without start, end or separator tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 2
    NAMES: ClassVar[Names] = Names(aliases={"frames_upbound": "num_frames"})
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "llava"

    kind: Literal["fixed"] = "fixed"
    variant: Literal["square"] = "square"
    image_size: int = Field(default=336, ge=1, le=16384)
    """Pixels of a side."""
    patch_size: int = Field(default=14, ge=1, le=256)
    merge_size: int = Field(default=1, ge=1, le=16)
    num_frames: int = Field(default=8, ge=1, le=4096)
    """Most frames of a video."""

    @model_validator(mode="after")
    def _whole_patches(self) -> Self:
        factor = self.patch_size * self.merge_size
        if self.image_size % factor:
            raise ValueError(f"image_size {self.image_size} is no multiple of {factor} pixels")
        return self

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """The reference converts to RGB, which drops transparency."""
        return "drop"

    def size(self, media: Media) -> Sized:
        """One view a picture; the frames of a video are one group."""
        verdicts = check(media)
        picked = pick(media, evenly(self.num_frames), verdicts)
        shown = verdicts.kept
        side = self.image_size // self.patch_size
        time = np.maximum(picked.counts, shown)
        layout = plain(shown, time * (side // self.merge_size) ** 2)
        return Sized(
            drawn=drawn(square(self.image_size, shown)),
            layout=layout,
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=square_groups(time, side),
            merge=np.full(len(media), self.merge_size),
            llm_tokens=layout.embeddings,
            vit_patches=time * side**2,
            kept_patches=Ragged.empty(len(media)),
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """Half the frames, down to one."""
        return half_the_frames(self)
