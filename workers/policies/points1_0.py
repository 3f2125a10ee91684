"""POINTS 1.0: `catty` cuts a picture of kept ratio into overlapping tiles of 336 pixels.

1. A picture more than `max_splits` times longer than wide is first squeezed to that ratio
   (`do_resize`), or refused.
2. Candidates: all (columns, rows) of 1 to `max_splits` tiles that are no less extreme in ratio than
   the picture; the nearest ratio, linear, then the area nearest to the picture's; the first of a
   tie.
3. The shorter side becomes a whole number of tiles, the longer follows the ratio; the windows
   along it overlap evenly, and a few last pixels may lie outside all of them.
4. A thumbnail of the resized picture, squeezed to a square, comes last, always.
`dynamic_high_resolution` is InternVL's way: the nearest ratio of all, squeezed to it, no overlap,
thumbnail of the source. 144 tokens a view (24 x 24 patches, merged 2 x 2), neither start, end nor
newline among them. Trade-off: no distortion, for 18 % more tile area than picture (at most 50 %).
Sources: WePOINTS/WePOINTS wepoints/utils/images/catty.py and dynamic_high_resolution.py;
tokens: the model's modeling_points_chat.py (`chat`), which takes the mean of two equal encoders, of
which one is counted here.
"""

from dataclasses import replace
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.reasons import Reason
from schemas.sized import Bools, Ints, Media, Ragged, Sized, ThumbnailOf
from workers.policies.catty import catty_canvases, squeezed, tiled_canvases
from workers.policies.drawing import LAST, Thumbnail, drawn, square
from workers.policies.frames import evenly, pick
from workers.policies.grids import square_views
from workers.policies.layouts import plain
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.verdicts import Verdicts, check, is_video
from workers.policies.windows import window_boxes
from workers.text_config import Family


class Points10(BaseModel):
    """Resolution policy of POINTS 1.0."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(aliases={"max_crop_slices": "max_splits"})
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "points"

    kind: Literal["points1_0"] = "points1_0"
    variant: Literal["catty", "dynamic_high_resolution"] = "catty"
    image_size: int = Field(default=336, ge=224, le=16384)
    """Pixels of a tile's side."""
    max_splits: int = Field(default=8, ge=1, le=100)
    """Most tiles of a picture, besides the thumbnail."""
    do_resize: bool = True
    """Whether `catty` squeezes a longer picture; `chat` does, the function alone does not."""
    patch_size: int = Field(default=14, ge=1, le=256)
    merge_size: int = Field(default=2, ge=1, le=16)
    num_frames: int = Field(default=8, ge=1, le=4096)
    """Most frames of a video, each one square view: POINTS 1.0 has no rule for videos."""

    @model_validator(mode="after")
    def _whole_patches(self) -> Self:
        factor = self.patch_size * self.merge_size
        if self.image_size % factor:
            raise ValueError(f"image_size {self.image_size} is no multiple of {factor} pixels")
        return self

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """CLIP's processor converts to RGB, which drops transparency."""
        return "drop"

    def size(self, media: Media) -> Sized:
        """Windows row by row, then the thumbnail; the frames of a video are one group."""
        verdicts = check(media)
        picked = pick(media, evenly(self.num_frames), verdicts)
        source = media.wh
        within = self._squeezed(source, ~is_video(media), verdicts)
        shown, tile = verdicts.kept, self.image_size
        picture = shown & ~is_video(media)
        grid, canvas = np.zeros_like(source), square(tile, shown)
        canvases = catty_canvases if self.variant == "catty" else tiled_canvases
        grid[picture], canvas[picture] = canvases(within[picture], self.max_splits, tile)
        groups, time = (grid.prod(axis=1) + 1) * shown, np.maximum(picked.counts, 1)
        views, side = groups * time, tile // self.patch_size
        layout = plain(shown, views * (side // self.merge_size) ** 2)
        stride = (canvas - tile) // np.maximum(grid - 1, 1)
        whole: ThumbnailOf = "canvas" if self.variant == "catty" else "source"
        pictures = drawn(
            canvas,
            crops=window_boxes(grid, stride, np.full_like(grid, tile)),
            thumbnail=Thumbnail(where=picture * LAST, wh=square(tile, picture), of=whole),
            resample="bilinear",
        )
        changed = picture & (within != source).any(axis=1)
        return Sized(
            drawn=replace(pictures, via_wh=Ragged.where(changed, within)),
            layout=layout,
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=square_views(groups, side, time),
            merge=np.full(len(media), self.merge_size),
            llm_tokens=layout.embeddings,
            vit_patches=views * side**2,
            kept_patches=Ragged.empty(len(media)),
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """One tile less, then half the frames."""
        if self.max_splits > 1:
            return self.model_copy(update={"max_splits": self.max_splits - 1})
        return half_the_frames(self)

    def _squeezed(self, source: Ints, picture: Bools, verdicts: Verdicts) -> Ints:
        """[n, 2] sizes within the ratio; refuses the others where they may not be resized."""
        if self.variant != "catty":
            return source
        within = np.where((picture & verdicts.kept)[:, None], source, 1)
        within = squeezed(within, self.max_splits)
        if not self.do_resize:
            most = self.max_splits
            verdicts.refuse(
                picture & (within != source).any(axis=1),
                Reason.RATIO_TOO_EXTREME,
                lambda row: (
                    f"{source[row, 0]} x {source[row, 1]} pixels: the ratio is not within "
                    f"1/{most} and {most}"
                ),
            )
        return within
