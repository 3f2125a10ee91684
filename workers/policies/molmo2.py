"""Molmo 2: overlapping crops of 378 pixels, after a global view of as many.

1. Crops see 56 pixels beyond their window of 266: a grid of windows is chosen for the picture less
   both margins, by scale (`fitting.best_fit`) in float32. So a picture of 112 pixels or less in a
   side gets one crop, whatever its length.
2. Stretched to the windows and margins; features are pooled two by two.
3. Each row of features of the global view, then of the whole map, ends in `<im_col>`.
Trade-off: 424 tokens for one crop; the overlap encodes twice what it shows once.
Source: huggingface/transformers 5.23.0 src/transformers/models/molmo2/
{image_processing_molmo2,processing_molmo2}.py (`select_tiling`).
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Ints, Ragged
from schemas.texts import token
from workers.policies.drawing import FIRST, Thumbnail, drawn, square
from workers.policies.fitting import best_fit
from workers.policies.grids import square_views
from workers.policies.smaller import one_less
from workers.policies.stills import StillPolicy, Views, run_groups, texts_by_grid
from workers.policies.tiles import candidate_grids, tile_boxes
from workers.policies.verdicts import Verdicts
from workers.text_config import Family

_CROP, _WINDOW, _PATCH = 378, 266, 14
_MARGINS = _CROP - _WINDOW
_LOW = 14
"""Rows and columns of the global view's tokens."""
_LOW_START, _START, _END, _COLUMN = map(
    token, ("<low_res_im_start>", "<im_start>", "<im_end>", "<im_col>")
)


class Molmo2(StillPolicy):
    """Resolution policy of Molmo 2."""

    family: ClassVar[Family] = "molmo2"

    kind: Literal["molmo2"] = "molmo2"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    max_crops: int = Field(default=8, ge=1, le=256)
    """Most crops beside the global view."""

    def views(self, wh: Ints, _: Verdicts) -> Views:
        """The global view and the crops; every row of features is a run."""
        grids = [(columns, rows) for rows, columns in candidate_grids(1, self.max_crops)]
        windows = [(columns * _WINDOW, rows * _WINDOW) for columns, rows in grids]
        grid = np.array(grids, np.int64)[best_fit(wh - _MARGINS, windows, np.float32)]
        canvas = grid * _WINDOW + _MARGINS
        boxes = tile_boxes(grid, _WINDOW)
        crops = Ragged(boxes.values + np.array([0, 0, _MARGINS, _MARGINS]), boxes.offsets)
        high = -(-canvas // (2 * _PATCH))
        rows = np.ones(len(wh), np.int64)
        runs = [(rows * _LOW, rows * _LOW), (high[:, 1], high[:, 0])]
        by_rows = np.stack([np.zeros_like(rows), high[:, 1]], axis=1)
        shown = rows > 0
        return Views(
            drawn=drawn(
                canvas,
                crops=crops,
                thumbnail=Thumbnail(where=rows * FIRST, wh=square(_CROP, shown)),
                resample="bilinear",
            ),
            grid_thw=square_views(grid.prod(axis=1) + 1, _CROP // _PATCH),
            merge=2,
            layout=run_groups(runs, texts_by_grid(by_rows, _texts)),
        )

    def smaller(self) -> Self | None:
        """One crop less."""
        return one_less(self, "max_crops")


def _texts(_: int, rows: int) -> list[str]:
    low, high = [_COLUMN] * (_LOW - 1), [_COLUMN] * (rows - 1)
    return [_LOW_START, *low, _COLUMN + _END + _START, *high, _COLUMN + _END]
