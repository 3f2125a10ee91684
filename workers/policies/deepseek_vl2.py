"""DeepSeek-VL2: tiles of 384 pixels on the canvas that keeps the most, behind a global view.

1. Of the canvases of at most 9 tiles, the one that keeps the most pixels, then wastes the least.
2. `ImageOps.pad` on it and, for the global view, on one tile: as large as fits, in the middle of
   grey. Where a side rounds to 0 there, the picture is refused beside its geometry.
3. 27 x 27 patches become 14 x 14 features. Global rows first, a separator, rows of all tiles
   together, each row with a newline.
4. A sample of more than two pictures gets no canvas: one tile each, 421 tokens.
A frame of a video is such a picture without a canvas: our choice, as the code has no videos.
Trade-off: 421 tokens at the least, 2017 for 3 x 3 tiles; tiles of a long banner are mostly grey.
Sources: deepseek-ai/DeepSeek-VL2 deepseek_vl2/models/{processing,modeling}_deepseek_vl_v2.py.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from schemas.reasons import Reason
from schemas.sized import Bools, Drawn, Ints, Media, Ragged, Sized
from workers.policies.anyres import best_canvas, check_canvases, without_largest
from workers.policies.contain import contain, middle
from workers.policies.drawing import FIRST, Canvas, Thumbnail, drawn, square
from workers.policies.frames import evenly, pick
from workers.policies.grids import square_views
from workers.policies.layouts import global_then_tiles
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.tiles import candidate_grids, tile_boxes
from workers.policies.verdicts import Verdicts, check, is_video
from workers.text_config import Family

_GREY = (127, 127, 127)
"""`int(mean * 255)` of the published mean, 0.5."""

_PUBLISHED = tuple((384 * columns, 384 * rows) for columns, rows in candidate_grids(1, 9))


class DeepSeekVL2(BaseModel):
    """Resolution policy of DeepSeek-VL2."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(
        aliases={"candidates_wh": "candidate_resolutions", "downsample": "downsample_ratio"},
        derived=("image_size",),
    )
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "llava"

    kind: Literal["deepseek_vl2"] = "deepseek_vl2"
    variant: Literal["dsvl2"] = "dsvl2"
    candidate_resolutions: tuple[tuple[PositiveInt, PositiveInt], ...] = Field(
        default=_PUBLISHED, min_length=1, max_length=1024
    )
    """Canvases, (width, height) in pixels; the first is one tile. The order decides full ties."""
    patch_size: int = Field(default=14, ge=1, le=256)
    downsample_ratio: int = Field(default=2, ge=1, le=16)
    """Side of the block of patches that becomes one feature; the last block may be part empty."""
    cropping: bool = True
    """Whether samples of one or two pictures get a canvas."""
    num_frames: int = Field(default=8, ge=1, le=4096)
    """Most frames of a video."""

    @model_validator(mode="after")
    def _whole_tiles(self) -> Self:
        tile = self.image_size
        if self.candidate_resolutions[0] != (tile, tile) or tile < self.patch_size:
            raise ValueError(f"the first of candidate_resolutions is no tile: {tile} pixels wide")
        check_canvases(self.candidate_resolutions, tile)
        return self

    @property
    def image_size(self) -> int:
        """Pixels of a tile's side."""
        return self.candidate_resolutions[0][0]

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """The reference converts to RGB, which drops transparency."""
        return "drop"

    def size(self, media: Media) -> Sized:
        """The global view and the tiles, row by row; a run for each frame."""
        verdicts = check(media)
        picked = pick(media, evenly(self.num_frames), verdicts)
        shown = verdicts.kept.copy()
        canvas_wh = self._canvases(media, shown)
        made = self._draw(media, canvas_wh, verdicts)
        grid = canvas_wh // self.image_size
        runs = np.maximum(picked.counts, shown)
        views = (1 + grid.prod(axis=1)) * runs
        patches = self.image_size // self.patch_size
        layout = global_then_tiles(runs, -(-patches // self.downsample_ratio), grid)
        return Sized(
            drawn=made,
            layout=layout,
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=square_views(views, patches),
            merge=np.full(len(media), self.downsample_ratio),
            llm_tokens=layout.embeddings,
            vit_patches=views * patches**2,
            kept_patches=Ragged.empty(len(media)),
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """Without the canvases of the most tiles, then half the frames."""
        fewer = without_largest(self.candidate_resolutions)
        if fewer and self.cropping:
            return self.model_copy(update={"candidate_resolutions": fewer})
        return half_the_frames(self)

    def _draw(self, media: Media, canvas_wh: Ints, verdicts: Verdicts) -> Drawn:
        """The picture on its canvas; refuses, but draws, what has no pixels left on one of them."""
        shown = verdicts.kept.copy()
        tile_wh = square(self.image_size, shown)
        size = np.where(shown, media.width, 1), np.where(shown, media.height, 1)
        inside, small = contain(size, canvas_wh), contain(size, tile_wh)
        verdicts.refuse(
            ((inside == 0) | (small == 0)).any(axis=1),
            Reason.EMPTY_TARGET,
            lambda row: (
                f"resizes to {inside[row, 0]} x {inside[row, 1]} pixels, as a global view "
                f"to {small[row, 0]} x {small[row, 1]}"
            ),
        )
        return drawn(
            inside,
            canvas=Canvas(wh=canvas_wh, xy=middle(canvas_wh, inside), rgb=_GREY),
            crops=tile_boxes(canvas_wh // self.image_size, self.image_size),
            thumbnail=Thumbnail(
                where=shown * FIRST, wh=tile_wh, resized_wh=small, xy=middle(tile_wh, small)
            ),
        )

    def _canvases(self, media: Media, shown: Bools) -> Ints:
        """[n, 2] the canvas of each picture in pixels; zeros for a refused row."""
        canvas_wh = square(self.image_size, shown)
        cut = shown & (media.images <= 2) & ~is_video(media) & self.cropping
        best = best_canvas(media.width[cut], media.height[cut], self.candidate_resolutions)
        canvas_wh[cut] = np.array(self.candidate_resolutions, np.int64)[best]
        return canvas_wh
