"""Ovis 2: the fewest crops that keep 90 % of the picture's area, and the whole before them.

1. `ovis_original`: a grid cuts the picture itself; a crop keeps what is left of its area when its
   long side is reduced to a tile. The fewest crops that keep more than `covering_threshold` win,
   then the most area; if none does, the most area. Each crop lies in the middle of its tile, on
   the mean colour (zero after normalisation).
2. `hf_5.23.0` takes rows for columns of that very grid, and stretches the whole picture to it; or,
   without `use_covering_area_grid`, to InternVL's grid.
3. Several crops follow the whole picture: `<IMG_GRID>`, `<IMG_COL>` and `<IMG_ROW>` between them.
Trade-off: 256 tokens a view, 259 to 2,571 a picture.
Sources: AIDC-AI/Ovis ovis/model/visual_tokenizer/base_visual_tokenizer.py;
huggingface/transformers 5.23.0 src/transformers/models/ovis2/image_processing_pil_ovis2.py.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Drawn, Ints, Ragged
from schemas.texts import token
from workers.policies.covering import covering_grids, cut_boxes
from workers.policies.drawing import FIRST, Canvas, Thumbnail, center_in, drawn, square
from workers.policies.grids import square_views
from workers.policies.protocol import Names
from workers.policies.smaller import one_less
from workers.policies.stills import StillPolicy, Views, marked_runs, refuse_target
from workers.policies.tiles import candidate_grids, nearest_grid, tile_boxes
from workers.policies.verdicts import Verdicts
from workers.text_config import Family

_START, _END, _GRID, _COL, _ROW = (
    token(f"<IMG_{name}>") for name in ("START", "END", "GRID", "COL", "ROW")
)
_MEAN = (122, 116, 104)


class Ovis2(StillPolicy):
    """Resolution policy of Ovis 1.6 and 2."""

    NAMES: ClassVar[Names] = Names(aliases={"max_partition": "max_patches"})
    family: ClassVar[Family] = "ovis2"

    kind: Literal["ovis2"] = "ovis2"
    variant: Literal["ovis_original", "hf_5.23.0"] = "ovis_original"
    image_size: int = Field(default=448, ge=28, le=4096)
    """Pixels of a tile's side: 448 in Ovis 2, 384 with a SigLIP tower."""
    patch_size: int = Field(default=14, ge=1, le=256)
    min_patches: int = Field(default=1, ge=1, le=64)
    """Fewest tiles of InternVL's grid."""
    max_patches: int = Field(default=9, ge=1, le=64)
    """Most crops."""
    covering_threshold: float = Field(default=0.9, ge=0, le=1)
    """Share of the area that the crops keep."""
    use_covering_area_grid: bool = True
    """Off, which only the port knows: InternVL's grid."""
    image_seq_length: int = Field(default=256, ge=1, le=65536)
    """Tokens of a view."""

    def views(self, wh: Ints, verdicts: Verdicts) -> Views:
        """The whole and the crops, each a run."""
        original = self.variant == "ovis_original"
        if original or self.use_covering_area_grid:
            rows_first = covering_grids(
                wh, self.image_size, self.max_patches, self.covering_threshold
            )
            grid = rows_first[:, ::-1] if original else rows_first
        else:
            candidates = candidate_grids(self.min_patches, self.max_patches)
            grid = nearest_grid((wh[:, 0], wh[:, 1]), candidates, self.image_size)
        crops = grid.prod(axis=1)
        views = crops + (crops > 1)
        return Views(
            drawn=self._cut(wh, grid, verdicts) if original else self._stretched(grid),
            grid_thw=square_views(views, self.image_size // self.patch_size),
            merge=1,
            layout=marked_runs(views, self.image_seq_length, grid, _texts),
        )

    def smaller(self) -> Self | None:
        """One crop less."""
        return one_less(self, "max_patches", self.min_patches)

    def _stretched(self, grid: Ints) -> Drawn:
        several = grid.prod(axis=1) > 1
        whole = Thumbnail(where=several * FIRST, wh=square(self.image_size, several))
        tile = self.image_size
        return drawn(grid * tile, crops=tile_boxes(grid, tile), thumbnail=whole)

    def _cut(self, wh: Ints, grid: Ints, verdicts: Verdicts) -> Drawn:
        """Each view in the middle of a square."""
        side, several = self.image_size, (grid.prod(axis=1) > 1)[:, None]
        whole = refuse_target(wh, _fitted(wh, side), verdicts)
        crops = cut_boxes(wh, grid)
        sizes = crops.values[:, 2:] - crops.values[:, :2]
        fitted = _fitted(np.maximum(sizes, 1), side) * (sizes > 0)
        thinnest = np.full(len(wh), side)
        np.minimum.at(
            thinnest, np.repeat(np.arange(len(wh)), crops.counts), fitted.min(axis=1, initial=side)
        )
        refuse_target(wh, np.stack([thinnest, thinnest], axis=1), verdicts)
        canvas = np.full_like(fitted, side)
        pieces = np.concatenate([fitted, center_in(canvas, fitted), canvas], axis=1)
        middle = center_in(np.full_like(whole, side), whole)
        return drawn(
            np.where(several, wh, whole),
            canvas=Canvas(
                wh=np.where(several, wh, side), xy=np.where(several, 0, middle), rgb=_MEAN
            ),
            crops=crops,
            pieces=Ragged(pieces, crops.offsets),
            thumbnail=Thumbnail(
                where=several[:, 0] * FIRST,
                wh=square(side, several[:, 0]),
                resized_wh=whole * several,
                xy=middle * several,
            ),
        )


def _fitted(wh: Ints, side: int) -> Ints:
    """[n, 2] the long side a tile's, the short rounded down, maybe to 0."""
    long, short = wh.max(axis=1), wh.min(axis=1)
    other = np.trunc(short / long * side).astype(np.int64)[:, None]
    exact = wh == long[:, None]
    return np.where(exact, side, other)


def _texts(columns: int, rows: int) -> list[str]:
    if columns * rows == 1:
        return [_START, _GRID + _END]
    between = [_ROW if place % columns == 0 else _COL for place in range(1, columns * rows)]
    return [_START, _GRID, *between, _END]
