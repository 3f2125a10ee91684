"""Aria: one square of 980 or 490 pixels, or LLaVA-NeXT's canvases cut into such squares.

1. Without splitting, the default: the long side becomes the square's, the short one keeps the ratio
   but at least `min_image_size`; black to the right and below.
2. With it: the canvas of units of 490 pixels that keeps most of the picture (`anyres`), the picture
   in its middle on black, cut into squares; each piece then goes through 1. once more.
Trade-off: 256 tokens a square of 980, 128 a square of 490.
Source: huggingface/transformers 5.23.0 src/transformers/models/aria/image_processing_pil_aria.py.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Drawn, Ints, Ragged
from workers.policies.anyres import best_canvas, fit
from workers.policies.drawing import Canvas, center_in, drawn
from workers.policies.grids import square_views
from workers.policies.layouts import plain
from workers.policies.stills import StillPolicy, Views
from workers.policies.tiles import tile_boxes
from workers.policies.verdicts import Verdicts
from workers.text_config import Family

_UNIT, _PATCH = 490, 14
_ROWS_AND_COLUMNS = (
    *((1, columns) for columns in range(2, 9)),
    *((2, 4), (2, 3), (2, 2), (2, 1), (3, 1), (3, 2), (4, 1), (4, 2)),
    *((rows, 1) for rows in range(5, 9)),
)
_CANVASES = tuple((columns * _UNIT, rows * _UNIT) for rows, columns in _ROWS_AND_COLUMNS)
_BLACK = (0, 0, 0)


class Aria(StillPolicy):
    """Resolution policy of Aria."""

    family: ClassVar[Family] = "aria"

    kind: Literal["aria"] = "aria"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    max_image_size: Literal[490, 980] = 980
    """Pixels of a square's side."""
    min_image_size: int = Field(default=336, ge=1, le=490)
    """Least pixels of a short side."""
    split_image: bool = False
    """Whether a picture is cut into several squares."""

    def views(self, wh: Ints, _: Verdicts) -> Views:
        """The square, or the squares; one run."""
        side = self.max_image_size
        pictures = self._split(wh) if self.split_image else self._whole(wh)
        views = np.maximum(pictures.crops_ltrb.counts, 1)
        return Views(
            drawn=pictures,
            grid_thw=square_views(views, side // _PATCH),
            merge=1,
            layout=plain(views > 0, views * (256 if side == 2 * _UNIT else 128)),
        )

    def smaller(self) -> Self | None:
        """No splitting, then the smaller square."""
        if self.split_image:
            return self.model_copy(update={"split_image": False})
        small = self.max_image_size == _UNIT
        return None if small else self.model_copy(update={"max_image_size": _UNIT})

    def _whole(self, wh: Ints) -> Drawn:
        square = np.full_like(wh, self.max_image_size)
        return drawn(self._fitted(wh), canvas=Canvas(wh=square, xy=np.zeros_like(wh), rgb=_BLACK))

    def _split(self, wh: Ints) -> Drawn:
        side = self.max_image_size
        canvas = np.array(_CANVASES)[best_canvas(wh[:, 0], wh[:, 1], _CANVASES)]
        resized, grid = fit(wh, canvas), -(-canvas // side)
        corner = np.zeros_like(canvas)
        alone = Ragged.where(grid.prod(axis=1) == 1, np.concatenate([corner, canvas], axis=1))
        boxes = Ragged.join([alone, tile_boxes(grid, side)])
        limits = np.repeat(np.tile(canvas, 2), boxes.counts, axis=0)
        boxes = Ragged(np.minimum(boxes.values, limits), boxes.offsets)
        fitted = self._fitted(boxes.values[:, 2:] - boxes.values[:, :2])
        pieces = np.concatenate([fitted, np.zeros_like(fitted), np.full_like(fitted, side)], axis=1)
        return drawn(
            resized,
            canvas=Canvas(wh=canvas, xy=center_in(canvas, resized), rgb=_BLACK),
            crops=boxes,
            pieces=Ragged(pieces, boxes.offsets),
        )

    def _fitted(self, wh: Ints) -> Ints:
        """[n, 2] the long side the square's."""
        scale = (self.max_image_size / wh.max(axis=1, initial=1))[:, None]
        short = np.maximum(np.trunc(wh * scale).astype(np.int64), self.min_image_size)
        wide = (wh[:, 0] >= wh[:, 1])[:, None]  # of a square the height is rounded too
        return np.where(np.concatenate([wide, ~wide], axis=1), self.max_image_size, short)
