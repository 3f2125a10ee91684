"""Llama 4: the canvas of up to 16 tiles that a picture fits with the least enlargement.

1. Canvas: all grids of `max_patches` tiles or fewer, by scale (`fitting.best_fit`) in float32.
2. The picture is not enlarged beyond one tile (`resize_to_max_canvas`: to the canvas); it lies at
   the top left, black around it. Several tiles are followed by one global tile, stretched.
Trade-off: 147 tokens for one tile, 2,467 for sixteen.
Source: huggingface/transformers 5.23.0 src/transformers/models/llama4/
{image_processing_llama4,processing_llama4}.py. Its tensors of integers divide in float32, its plain
numbers in doubles, which moves a side by a pixel here and there.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Ints
from schemas.texts import token
from workers.policies.drawing import LAST, Canvas, Thumbnail, drawn, square
from workers.policies.fitting import best_fit, grids_by_ratio
from workers.policies.grids import square_views
from workers.policies.smaller import half
from workers.policies.stills import StillPolicy, Views, marked_runs
from workers.policies.tiles import tile_boxes
from workers.policies.verdicts import Verdicts
from workers.text_config import Family

_START, _END = token("<|image_start|>"), token("<|image_end|>")
_X, _Y = token("<|tile_x_separator|>"), token("<|tile_y_separator|>")
_GLOBAL = token("<|image|>")
_BLACK = (0, 0, 0)


class Llama4(StillPolicy):
    """Resolution policy of Llama 4."""

    family: ClassVar[Family] = "llama4"

    kind: Literal["llama4"] = "llama4"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    max_patches: int = Field(default=16, ge=1, le=64)
    """Most tiles."""
    resize_to_max_canvas: bool = False
    """Enlarges to the largest canvas in place of the nearest."""
    image_size: int = Field(default=336, ge=28, le=4096)
    """Pixels of a tile's side."""
    patch_size: int = Field(default=14, ge=1, le=256)

    def views(self, wh: Ints, _: Verdicts) -> Views:
        """Tiles and the global tile, each a run."""
        tile = self.image_size
        grids = [(w, h) for group in grids_by_ratio(self.max_patches).values() for h, w in group]
        canvases = [(columns * tile, rows * tile) for columns, rows in grids]
        choice = best_fit(wh, canvases, np.float32, self.resize_to_max_canvas)
        grid = np.array(grids, np.int64)[choice]
        several = grid.prod(axis=1) > 1
        views = grid.prod(axis=1) + several
        corner = Canvas(wh=grid * tile, xy=np.zeros_like(grid), rgb=_BLACK)
        pictures = drawn(
            self._resized(wh, grid * tile),
            canvas=corner,
            crops=tile_boxes(grid, tile),
            thumbnail=Thumbnail(where=several * LAST, wh=square(tile, several)),
            resample="bilinear",
        )
        side = tile // self.patch_size
        layout = marked_runs(views, (side // 2) ** 2, grid, _texts)
        return Views(drawn=pictures, grid_thw=square_views(views, side), merge=2, layout=layout)

    def smaller(self) -> Self | None:
        """Half the tiles."""
        return half(self, "max_patches")

    def _resized(self, wh: Ints, canvas: Ints) -> Ints:
        """[n, 2] the size on the canvas, in the precision of either side."""
        own = np.maximum(wh, self.image_size)
        single = (canvas < own) | self.resize_to_max_canvas
        box = canvas if self.resize_to_max_canvas else np.minimum(own, canvas)
        coarse = (box.astype(np.float32) / wh.astype(np.float32)).astype(np.float64)
        scale = np.where(single, coarse, box / wh)
        either = single.any(axis=1, keepdims=True)
        compared = np.where(either, scale.astype(np.float32).astype(np.float64), scale)
        wide = compared[:, 0] < compared[:, 1]
        turned = scale[:, ::-1]  # a side is scaled by the other's scale
        rough = wh.astype(np.float32) * turned.astype(np.float32)
        other = np.floor(np.where(single[:, ::-1], rough.astype(np.float64), wh * turned))
        exact = np.stack([wide, ~wide], axis=1)
        return np.where(exact, box, np.clip(other.astype(np.int64), 1, box))


def _texts(columns: int, rows: int) -> list[str]:
    if columns * rows == 1:
        return [_START + _GLOBAL, _END]
    between = [_Y if place % columns == 0 else _X for place in range(1, columns * rows)]
    return [_START, *between, _Y + _GLOBAL, _END]
