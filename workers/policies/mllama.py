"""Llama 3.2 Vision: up to four tiles that go to cross-attention, behind a single token.

1. Canvas: all (rows, columns) of `max_image_tiles` or fewer, by scale (`fitting.best_fit`).
2. The picture fits a box between one tile and the canvas, at the top left, black around it.
Trade-off: one token of text a picture, and 1,601 features a tile: balance on patches, not tokens.
Source: huggingface/transformers 5.23.0 src/transformers/models/mllama/
image_processing_pil_mllama.py.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Ints
from workers.policies.drawing import Canvas, drawn
from workers.policies.fitting import best_fit, fit_in_box
from workers.policies.grids import square_views
from workers.policies.layouts import plain
from workers.policies.smaller import one_less
from workers.policies.stills import StillPolicy, Views
from workers.policies.tiles import tile_boxes
from workers.policies.verdicts import Verdicts
from workers.text_config import Family


class Mllama(StillPolicy):
    """Resolution policy of Llama 3.2 Vision."""

    family: ClassVar[Family] = "mllama"

    kind: Literal["mllama"] = "mllama"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    max_image_tiles: int = Field(default=4, ge=1, le=64)
    """Most tiles."""
    image_size: int = Field(default=560, ge=28, le=4096)
    """Pixels of a tile's side."""
    patch_size: int = Field(default=14, ge=1, le=256)

    def views(self, wh: Ints, _: Verdicts) -> Views:
        """Tiles, behind one token in the sequence."""
        tile = self.image_size
        grids = supported(self.max_image_tiles)
        canvases = [(columns * tile, rows * tile) for rows, columns in grids]
        canvas = np.array(canvases, np.int64)[best_fit(wh, canvases)]
        grid = canvas // tile
        box = np.minimum(np.maximum(wh, tile), canvas)
        corner = Canvas(wh=canvas, xy=np.zeros_like(grid), rgb=(0, 0, 0))
        return Views(
            drawn=drawn(
                fit_in_box(wh, box),
                canvas=corner,
                crops=tile_boxes(grid, tile),
                resample="bilinear",
            ),
            grid_thw=square_views(grid.prod(axis=1), tile // self.patch_size),
            merge=1,
            layout=plain(np.ones(len(wh), np.bool_), 1),
        )

    def smaller(self) -> Self | None:
        """One tile less."""
        return one_less(self, "max_image_tiles")


def supported(most: int) -> list[tuple[int, int]]:
    """All (rows, columns) in order: the model's `aspect_ratio_id` is the place in it, from 1."""
    pairs = [(one, two) for one in range(1, most + 1) for two in range(1, most + 1)]
    return [(one, two) for one, two in pairs if one * two <= most]
