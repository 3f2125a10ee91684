"""mPLUG-DocOwl1.5: the grid of 448-pixel crops whose shape is nearest, behind a global view.

1. A grid of crops scores 100 x its overlap with the picture's shape drawn at the grid's width, plus
   its overlap with the picture itself, as intersection over union in float32; the first best wins.
2. Resize to the grid whatever the aspect ratio, cut row by row; the global view of 448 x 448 first.
3. Four neighbours in a row of 32 x 32 patches make a feature: 256 and a learned end a view.
4. Text before each view names it: `<global_img>`, `<crop_img_row0_col0>`, ...
A frame of a video is one global view: our choice, as the code has no rule for videos.
Trade-off: a page of A4 costs 7 views, 1799 tokens; 10000 x 10000 pixels cost 10, and are shrunk.
Sources: X-PLUG/mPLUG-DocOwl DocOwl1.5/mplug_docowl/processor.py (`anchor_rank`, `DocProcessor`),
DocOwl1.5/mplug_docowl/model/visual_encoder.py (`vit_eos`).
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.sized import OTHER, Bools, Ints, Layout, Media, Ragged, Sized, Texts
from workers.policies.anchors import ANCHORS, SMALLER, Anchors, best_anchor
from workers.policies.drawing import FIRST, Thumbnail, drawn, square
from workers.policies.frames import evenly, pick
from workers.policies.grids import square_views
from workers.policies.layouts import part, texts_by
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.tiles import tile_boxes
from workers.policies.verdicts import check
from workers.text_config import Family

_NEIGHBOURS = 4
"""Patches of a row that the H-Reducer makes one feature."""
_GLOBAL = "<global_img>"
_ROW = 1000
"""Above any number of rows, so that columns * _ROW + rows names a grid."""


class DocOwl15(BaseModel):
    """Resolution policy of mPLUG-DocOwl1.5."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names()
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "docowl"

    kind: Literal["docowl1_5"] = "docowl1_5"
    variant: Literal["docowl"] = "docowl"
    anchors: Anchors = "grid_9"
    """The grids to choose from, by the number of their crops."""
    image_size: int = Field(default=448, ge=1, le=16384)
    """Pixels of a view's side."""
    patch_size: int = Field(default=14, ge=1, le=256)
    add_global_img: bool = True
    add_textual_crop_indicator: bool = True
    """Text before each view, as in the published inference code."""
    num_frames: int = Field(default=8, ge=1, le=4096)
    """Most frames of a video."""

    @model_validator(mode="after")
    def _whole_features(self) -> Self:
        step = self.patch_size * _NEIGHBOURS
        if self.image_size % step:
            raise ValueError(f"image_size {self.image_size} is no multiple of {step} pixels")
        return self

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """The reference converts to RGB, which drops transparency."""
        return "drop"

    def size(self, media: Media) -> Sized:
        """The global view, then the crops row by row, each a run of its own."""
        verdicts = check(media)
        picked = pick(media, evenly(self.num_frames), verdicts)
        grid = self._choose(media, verdicts.kept, picked.counts)
        globe = verdicts.kept & (picked.counts == 0) & self.add_global_img
        runs = grid.prod(axis=1) * np.maximum(picked.counts, 1) + globe
        side = self.image_size // self.patch_size
        parts = part(verdicts.kept, 1, side * side // _NEIGHBOURS, OTHER)
        layout = Layout(runs=runs, parts=parts, texts=self._indicators(grid, picked.counts))
        return Sized(
            drawn=drawn(
                grid * self.image_size,
                crops=tile_boxes(grid, self.image_size),
                thumbnail=Thumbnail(where=globe * FIRST, wh=square(self.image_size, globe)),
            ),
            layout=layout,
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=square_views(runs, side),
            merge=np.ones(len(media), np.int64),
            llm_tokens=layout.embeddings,
            vit_patches=runs * side**2,
            kept_patches=Ragged.empty(len(media)),
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """Fewer crops, then half the frames."""
        if self.anchors in SMALLER:
            return self.model_copy(update={"anchors": SMALLER[self.anchors]})
        return half_the_frames(self)

    def _choose(self, media: Media, shown: Bools, frames: Ints) -> Ints:
        """[n, 2] columns and rows: 1 x 1 for a frame, zeros for a refused row."""
        anchors = ANCHORS[self.anchors]
        grid = np.zeros((len(media), 2), np.int64)
        grid[frames > 0] = 1
        rows = shown & (frames == 0)
        best = best_anchor(media.width[rows], media.height[rows], anchors, self.image_size)
        grid[rows] = np.array(anchors, np.int64)[best, ::-1]
        return grid

    def _indicators(self, grid: Ints, frames: Ints) -> Texts:
        """What stands before each view; a frame is written as a global view."""
        if not self.add_textual_crop_indicator:
            return Texts.none(len(grid))
        keys = np.where(frames > 0, -frames, grid[:, 0] * _ROW + grid[:, 1])
        return texts_by(
            keys, {key: self._names(key) for key in np.unique(keys[keys != 0]).tolist()}
        )

    def _names(self, key: int) -> tuple[str, ...]:
        if key < 0:
            return (_GLOBAL,) * -key + ("",)
        columns, rows = divmod(key, _ROW)
        crops = (
            f"<crop_img_row{row}_col{column}>" for row in range(rows) for column in range(columns)
        )
        return ((_GLOBAL,) if self.add_global_img else ()) + (*crops, "")
