"""Phi-4-multimodal: as many tiles of 448 as the picture has, padded in white, after a global view.

1. Grid: the picture's size in tiles, rounded up; over `dynamic_hd` tiles the nearest in ratio.
2. Enlarged or reduced to the canvas, at the top left; a side under 10 pixels is refused.
3. Features that saw only padding are left out; each row of the others ends in a newline.
4. In the sequence the tiles' map, a separator, the global view of the padded canvas.
Trade-off: 290 to 9,681 tokens a picture.
Source: huggingface/transformers 5.23.0 src/transformers/models/phi4_multimodal/
image_processing_phi4_multimodal.py. It shrinks the canvas bicubically without antialiasing, which
pixels here do not repeat.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.reasons import Reason
from schemas.sized import NEWLINE, OTHER, Ints
from workers.policies.drawing import FIRST, Canvas, Thumbnail, drawn, square
from workers.policies.grids import square_views
from workers.policies.layouts import one_run, part
from workers.policies.smaller import half
from workers.policies.stills import StillPolicy, Views
from workers.policies.tiles import candidate_grids, nearest_grid, tile_boxes
from workers.policies.verdicts import Verdicts
from workers.text_config import Family


class Phi4Multimodal(StillPolicy):
    """Resolution policy of Phi-4-multimodal."""

    family: ClassVar[Family] = "phi4"

    kind: Literal["phi4_multimodal"] = "phi4_multimodal"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    dynamic_hd: int = Field(default=36, ge=1, le=256)
    """Most tiles."""
    image_size: int = Field(default=448, ge=28, le=4096)
    """Pixels of a tile's side."""
    patch_size: int = Field(default=14, ge=1, le=256)

    def views(self, wh: Ints, verdicts: Verdicts) -> Views:
        """The global view and the tiles; one run."""
        tile, all_rows = self.image_size, np.ones(len(wh), np.bool_)
        grid = -(-wh // tile)
        near = nearest_grid((wh[:, 0], wh[:, 1]), candidate_grids(1, self.dynamic_hd), tile)
        grid = np.where((grid.prod(axis=1) > self.dynamic_hd)[:, None], near, grid)
        canvas = grid * tile
        resized = _letterboxed(wh, canvas)
        verdicts.refuse(
            resized.min(axis=1) < 10,
            Reason.RATIO_TOO_EXTREME,
            lambda row: (
                f"{wh[row, 0]} x {wh[row, 1]} pixels resize to {resized[row, 0]} x "
                f"{resized[row, 1]}; no side under 10 is read"
            ),
        )
        side = tile // self.patch_size
        kept = grid * side - (canvas - resized) // self.patch_size
        columns, rows = (-(-kept // 2)).T
        parts = [
            part(all_rows, rows, columns, NEWLINE),
            part(all_rows, 1, 0, OTHER),
            part(all_rows, side // 2, side // 2, NEWLINE),
        ]
        small = Thumbnail(where=all_rows * FIRST, wh=square(tile, all_rows), of="canvas")
        white = Canvas(wh=canvas, xy=np.zeros_like(canvas), rgb=(255, 255, 255))
        return Views(
            drawn=drawn(
                np.maximum(resized, 1),
                canvas=white,
                crops=tile_boxes(grid, tile),
                thumbnail=small,
                resample="bilinear",
            ),
            grid_thw=square_views(grid.prod(axis=1) + 1, side),
            merge=2,
            layout=one_run(all_rows, parts),
        )

    def smaller(self) -> Self | None:
        """Half the tiles."""
        return half(self, "dynamic_hd")


def _letterboxed(wh: Ints, canvas: Ints) -> Ints:
    """[n, 2] one side the canvas's, the other rounded down."""
    ratio = canvas / wh
    wide = (ratio[:, 0] < ratio[:, 1])[:, None]
    other = np.trunc(wh * ratio[:, ::-1]).astype(np.int64)
    return np.where(np.concatenate([wide, ~wide], axis=1), canvas, other)
