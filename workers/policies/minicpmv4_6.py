"""MiniCPM-V 4.6: an overview of 448 x 448 pixels of area, and slices of as much.

1. As many slices as the area holds 448 x 448 pixels, at most `max_slice_nums`, one less or one
   more, in the grid nearest in the logarithm of the ratio; of equals the one with more rows.
2. The overview first, then the slices of the picture resized to the grid, row by row; every view
   in whole blocks of 56 pixels (28 in mode `4x`), rounded to the nearest.
Trade-off: about 64 tokens a view, four times as many in mode `4x`.
Source: huggingface/transformers 5.23.0 src/transformers/models/minicpmv4_6/
{image_processing_pil_minicpmv4_6,processing_minicpmv4_6}.py.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Floats, Ints, Ragged
from schemas.texts import token
from workers.policies.drawing import FIRST, Thumbnail, drawn
from workers.policies.smaller import one_less
from workers.policies.stills import StillPolicy, Views, one_grid, run_groups, texts_by_grid
from workers.policies.tiles import rect_boxes
from workers.policies.uhd_slices import slice_grids
from workers.policies.verdicts import Verdicts
from workers.text_config import Family

_START, _END, _SLICE, _SLICED = map(token, ("<image>", "</image>", "<slice>", "</slice>"))


class MiniCPMV46(StillPolicy):
    """Resolution policy of MiniCPM-V 4.6."""

    family: ClassVar[Family] = "minicpmv"

    kind: Literal["minicpmv4_6"] = "minicpmv4_6"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    max_slice_nums: int = Field(default=9, ge=1, le=256)
    """Most slices."""
    scale_resolution: int = Field(default=448, ge=28, le=4096)
    """Pixels: the root of a view's area."""
    patch_size: int = Field(default=14, ge=1, le=256)
    downsample_mode: Literal["16x", "4x"] = "16x"
    """How many patches become one token."""

    def views(self, wh: Ints, _: Verdicts) -> Views:
        """The overview and the slices, each a run."""
        merge = 4 if self.downsample_mode == "16x" else 2
        grid = slice_grids(wh, self.scale_resolution, self.max_slice_nums, more_rows=True)
        sliced = grid.prod(axis=1)
        whole = self._at_area(wh.astype(np.float64))
        shares = np.maximum(grid, 1)
        one = self._at_area(np.maximum(np.rint(wh / shares) * shares, shares) / shares)
        cut = (sliced > 0)[:, None]
        pictures = drawn(
            np.where(cut, grid * one, whole),
            crops=rect_boxes(grid, one),
            thumbnail=Thumbnail(where=(sliced > 0) * FIRST, wh=whole * cut),
        )
        grids = one_grid(one, self.patch_size)
        slices = Ragged.from_counts(np.repeat(grids.values, sliced, axis=0), sliced)
        tokens = [(view // self.patch_size).prod(axis=1) // merge**2 for view in (whole, one)]
        runs = [(np.ones_like(sliced), tokens[0]), (sliced, tokens[1])]
        return Views(
            drawn=pictures,
            grid_thw=Ragged.join([one_grid(whole, self.patch_size), slices]),
            merge=merge,
            layout=run_groups(runs, texts_by_grid(grid, _texts)),
        )

    def smaller(self) -> Self | None:
        """One slice less."""
        return one_less(self, "max_slice_nums")

    def _at_area(self, wh: Floats) -> Ints:
        """[n, 2] pixels of the area, in whole blocks."""
        unit = self.patch_size * (4 if self.downsample_mode == "16x" else 2)
        ratio = wh[:, 0] / wh[:, 1]
        height = np.trunc(self.scale_resolution / np.sqrt(ratio))
        sides = np.stack([np.trunc(height * ratio), height], axis=1)
        return np.asarray(np.maximum(np.rint(sides / unit) * unit, unit), np.int64)


def _texts(columns: int, rows: int) -> list[str]:
    if not columns:
        return [_START, _END]
    ends = [_SLICED + ("\n" if place % columns == 0 else "") for place in range(1, columns * rows)]
    return [_START, _END + _SLICE, *(end + _SLICE for end in ends), _SLICED]
