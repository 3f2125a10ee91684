"""DeepSeek-OCR 2: tiles of 768 pixels for what is larger, and the whole on a grey square.

1. A picture with a side over 768 is stretched to the grid of 2 to `max_patches` tiles nearest in
   ratio; no other is cut.
2. The whole picture on a square of 1024 pixels (768 where nothing may be cut), in its middle.
3. In the sequence the tiles, the whole, a separator. 257 tokens even where the square has 768
   pixels, as the published processor counts.
Trade-off: 144 tokens a tile, 257 for the rest.
Source: huggingface/transformers 5.23.0 src/transformers/models/deepseek_ocr2/
{image_processing_pil_deepseek_ocr2,processing_deepseek_ocr2}.py.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import OTHER, Ints, Ragged
from workers.policies.drawing import LAST, Canvas, Thumbnail, center_in, drawn, square
from workers.policies.grids import square_views
from workers.policies.layouts import one_run, part
from workers.policies.stills import StillPolicy, Views, refuse_target
from workers.policies.tiles import candidate_grids, nearest_grid, tile_boxes
from workers.policies.verdicts import Verdicts
from workers.text_config import Family

_TILE, _GLOBAL, _PATCH = 768, 1024, 16
_GREY = (127, 127, 127)


class DeepSeekOCR2(StillPolicy):
    """Resolution policy of DeepSeek-OCR 2."""

    family: ClassVar[Family] = "llava"

    kind: Literal["deepseek_ocr2"] = "deepseek_ocr2"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    crop_to_patches: bool = True
    """Off: no tiles, and a smaller square."""
    min_patches: int = Field(default=2, ge=1, le=64)
    """Fewest tiles of a picture that is cut."""
    max_patches: int = Field(default=6, ge=1, le=64)
    """Most tiles."""

    def views(self, wh: Ints, verdicts: Verdicts) -> Views:
        """The tiles and the whole; one run."""
        size, rows = _GLOBAL if self.crop_to_patches else _TILE, np.ones(len(wh), np.bool_)
        large = (wh.max(axis=1) > _TILE) & self.crop_to_patches
        candidates = candidate_grids(self.min_patches, self.max_patches)
        grid = nearest_grid((wh[:, 0], wh[:, 1]), candidates, _TILE) * large[:, None]
        tiles = grid.prod(axis=1)
        fitted = np.rint(wh * (size / wh.max(axis=1))[:, None]).astype(np.int64)
        fitted = refuse_target(wh, fitted, verdicts)
        cut = large[:, None]
        xy = center_in(np.full_like(fitted, size), fitted)
        grey = Canvas(wh=np.where(cut, grid * _TILE, size), xy=np.where(cut, 0, xy), rgb=_GREY)
        whole = Thumbnail(
            where=large * LAST, wh=square(size, large), resized_wh=fitted * cut, xy=xy * cut
        )
        parts = [part(large, 1, 144 * tiles), part(rows, 1, 256), part(rows, 1, 0, OTHER)]
        return Views(
            drawn=drawn(
                np.where(cut, grid * _TILE, fitted),
                canvas=grey,
                crops=tile_boxes(grid, _TILE),
                thumbnail=whole,
            ),
            grid_thw=Ragged.join(
                [
                    square_views(tiles, _TILE // _PATCH),
                    square_views(rows.astype(np.int64), size // _PATCH),
                ]
            ),
            merge=1,
            layout=one_run(rows, parts),
        )

    def smaller(self) -> Self | None:
        """One tile less, then none."""
        if self.crop_to_patches and self.max_patches > self.min_patches:
            return self.model_copy(update={"max_patches": self.max_patches - 1})
        off = {"crop_to_patches": False}
        return self.model_copy(update=off) if self.crop_to_patches else None
