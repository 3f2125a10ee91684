"""SigLIP 2 NaFlex: the largest size of the picture's ratio whose patches fit a fixed count.

1. Bisect the scale in [1e-6, 100] until its bounds are 1e-5 apart; a side is its scaled length,
   rounded up to whole patches.
2. A scale fits where rows x columns <= max_num_patches; the largest that was seen to fit is taken,
   so a picture of 1 x 1 becomes 112 x 112.
3. Resize bilinearly, without regard to the small change of ratio.
Trade-off: 256 patches whatever the picture, so a photo of 640 x 480 keeps 1/5 of its pixels. The
model pads to `max_num_patches` and masks; a pack holds the patches that are there.
Sources: huggingface/transformers 5.23.0 models/siglip2/image_processing_pil_siglip2.py
`get_image_size_for_max_num_patches`; google-research/big_vision
big_vision/pp/proj/image_text/ops_naflex.py `_get_image_size_for_seq` (in float32).
"""

from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from schemas.reasons import Reason
from schemas.sized import Floats, Ints, Media, Ragged, Sized
from workers.policies.drawing import drawn
from workers.policies.frames import evenly, pick
from workers.policies.layouts import plain
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.verdicts import Verdicts, check
from workers.text_config import Family

Reals = npt.NDArray[np.float32] | npt.NDArray[np.float64]

EPSILON = 1e-5
BLOCK = 1 << 14
"""Pictures that are bisected at once, so that the columns stay in the cache."""


class SigLIP2NaFlex(BaseModel):
    """Resolution policy of SigLIP 2 NaFlex, an encoder without a language model."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(
        aliases={"max_sequence_len": "max_num_patches"}, derived=("pad_to",)
    )
    positions: ClassVar[str] = "none"
    family: ClassVar[Family] = "llava"

    kind: Literal["siglip2_naflex"] = "siglip2_naflex"
    variant: Literal["hf_5.23.0", "big_vision_np32"] = "hf_5.23.0"
    patch_size: int = Field(default=16, ge=1, le=256)
    max_num_patches: int = Field(default=256, ge=1, le=65536)
    """Most patches of a picture or frame."""
    num_frames: int = Field(default=8, ge=1, le=4096)
    """Most frames of a video, each a picture of its own; SigLIP 2 has no rule for videos."""

    @property
    def pad_to(self) -> int:
        """Rows of the array that the model gets for a picture, with a mask over the last ones."""
        return self.max_num_patches

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """transformers 5 composites on white where it is told to convert, and takes no alpha
        otherwise; TensorFlow decodes three channels.
        """
        return "white" if self.variant == "hf_5.23.0" else "drop"

    def size(self, media: Media) -> Sized:
        """One view a picture; the frames of a video are one group."""
        verdicts = check(media)
        picked = pick(media, evenly(self.num_frames), verdicts)
        columns, rows = self._grids(media, verdicts)
        shown = verdicts.kept
        picked = picked.only(shown)
        grid = np.stack([np.maximum(picked.counts, shown), rows, columns], axis=1)
        patches = grid.prod(axis=1)
        layout = plain(shown, patches)
        return Sized(
            drawn=drawn(grid[:, :0:-1] * self.patch_size, resample="bilinear"),
            layout=layout,
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=Ragged.where(shown, grid),
            merge=np.ones(len(media), np.int64),
            llm_tokens=layout.embeddings,
            vit_patches=patches,
            kept_patches=Ragged.empty(len(media)),
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """Patches times 3/4, down to 16, then half the frames."""
        if self.max_num_patches > 16:
            return self.model_copy(
                update={"max_num_patches": max(self.max_num_patches * 3 // 4, 16)}
            )
        return half_the_frames(self)

    def _grids(self, media: Media, verdicts: Verdicts) -> tuple[Ints, Ints]:
        """Columns and rows of patches; 0 for a refused row, whose reason is noted."""
        double = self.variant == "hf_5.23.0"
        size = np.where(verdicts.kept, np.stack([media.width, media.height]), 1)
        sides: Reals = size.astype(np.float64) if double else size.astype(np.float32)
        grid, lost = np.zeros(sides.shape, np.int64), np.zeros(len(media), np.bool_)
        for start in range(0, len(media), BLOCK):
            block = slice(start, start + BLOCK)
            scale = self._scale(sides[:, block])
            grid[:, block] = self._patches(sides[:, block], scale)
            lost[block] = grid[:, block].prod(axis=0) > self.max_num_patches
            if not double:
                lost[block] |= scale <= scale.dtype.type(EPSILON)
        verdicts.refuse(
            lost,
            Reason.OVER_BUDGET,
            lambda row: (
                f"{media.width[row]} x {media.height[row]} pixels do not fit "
                f"{self.max_num_patches} patches at any scale that is tried"
            ),
        )
        grid *= verdicts.kept
        return grid[0], grid[1]

    def _scale(self, sides: Reals) -> Reals:
        """[n] the lower bound after the bisection, in the precision of the sides."""
        low = np.full(sides.shape[1], EPSILON / 10, sides.dtype)
        high = np.full(sides.shape[1], 100, sides.dtype)
        while (wide := high - low >= EPSILON).any():
            middle = (low + high) / 2
            columns, rows = self._patches(sides, middle)
            fits = columns * rows <= self.max_num_patches
            np.copyto(low, middle, where=wide & fits)
            np.copyto(high, middle, where=wide & ~fits)
        return low

    def _patches(self, sides: Reals, scale: Reals) -> Floats:
        """[2, n] whole numbers, columns and rows, at least one."""
        counts = np.maximum(np.ceil(sides * scale / self.patch_size), 1)
        return counts.astype(np.float64, copy=False)
