"""Perception-LM: the largest canvas of tiles that a picture fits, after a global view.

1. Of the canvases that hold the picture the one on which its short side is largest, the last of
   equals; else the nearest ratio that is not larger, with the most tiles.
2. Stretched to that canvas; the global view comes first, even of one tile.
Trade-off: enlarges heavily, 224 x 224 to 36 tiles: 6,000 to 9,472 tokens for nearly every picture.
Source: huggingface/transformers 5.23.0 src/transformers/models/perception_lm/
image_processing_perception_lm.py.
"""

from collections.abc import Callable
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Floats, Ints
from workers.policies.blocks import blocks
from workers.policies.drawing import FIRST, Thumbnail, drawn, square
from workers.policies.fitting import grids_by_ratio
from workers.policies.grids import square_views
from workers.policies.layouts import plain
from workers.policies.smaller import half
from workers.policies.stills import StillPolicy, Views
from workers.policies.tiles import tile_boxes
from workers.policies.verdicts import Verdicts
from workers.text_config import Family


class PerceptionLM(StillPolicy):
    """Resolution policy of Perception-LM."""

    family: ClassVar[Family] = "mllama"

    kind: Literal["perception_lm"] = "perception_lm"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    tile_size: int = Field(default=448, ge=28, le=4096)
    """Pixels of a tile's side."""
    max_num_tiles: int = Field(default=36, ge=1, le=144)
    """Most tiles."""
    patch_size: int = Field(default=14, ge=1, le=256)
    pooling_ratio: int = Field(default=2, ge=1, le=16)
    """Patches of a side of the block that becomes one token."""

    def views(self, wh: Ints, _: Verdicts) -> Views:
        """The global view and the tiles; one run."""
        tile, side = self.tile_size, self.tile_size // self.patch_size
        grid = np.ones_like(wh)
        for rows in blocks(len(wh)):
            grid[rows] = _grids(wh[rows], self.max_num_tiles, tile)
        shown, views = np.ones(len(wh), np.bool_), grid.prod(axis=1) + 1
        return Views(
            drawn=drawn(
                grid * tile,
                crops=tile_boxes(grid, tile),
                thumbnail=Thumbnail(where=shown * FIRST, wh=square(tile, shown)),
            ),
            grid_thw=square_views(views, side),
            merge=self.pooling_ratio,
            layout=plain(shown, views * (side // self.pooling_ratio) ** 2),
        )

    def smaller(self) -> Self | None:
        """Half the tiles."""
        return half(self, "max_num_tiles")


def _grids(wh: Ints, most: int, tile: int) -> Ints:
    groups = grids_by_ratio(most)
    width, height = np.ascontiguousarray(wh.T.astype(np.float64))
    ratio = width / height
    found = _nearest(ratio, groups)
    shapes = ((ratio > 1, _of_wide), (ratio == 1, _of_square), (ratio < 1, _of_tall))
    for rows, short in shapes:
        found[rows] = _largest(width[rows], height[rows], groups, tile, short, found[rows])
    return found


def _largest(
    width: Floats,
    height: Floats,
    groups: dict[float, list[tuple[int, int]]],
    tile: int,
    short: Callable[[Floats, Floats, Floats], Floats],
    otherwise: Ints,
) -> Ints:
    """[n, 2] the canvas that holds a picture and makes its short side the largest."""
    grids = [one for group in groups.values() for one in group]
    best, choice = np.full(len(width), -1.0), np.full(len(width), -1)
    for index, (columns, rows) in enumerate(grids):
        factor = np.minimum(columns * tile / width, rows * tile / height)
        side = short(factor, width, height)
        holds = (columns * tile >= width) & (rows * tile >= height) & (side >= best)
        np.copyto(choice, index, where=holds)
        np.copyto(best, side, where=holds)
    held = (choice >= 0)[:, None]
    return np.where(held, np.array(grids, np.int64)[choice], otherwise)


def _of_wide(factor: Floats, width: Floats, height: Floats) -> Floats:
    return np.asarray(np.floor(factor * width / (width / height)), np.float64)


def _of_square(factor: Floats, _: Floats, height: Floats) -> Floats:
    return np.asarray(factor * height, np.float64)


def _of_tall(factor: Floats, width: Floats, height: Floats) -> Floats:
    return np.asarray(np.floor(factor * height * (width / height)), np.float64)


def _nearest(ratio: Floats, groups: dict[float, list[tuple[int, int]]]) -> Ints:
    """[n, 2] of the ratio at or below (a portrait: above) the one with the most tiles."""
    known = sorted(groups)
    place = np.searchsorted(known, ratio, side="right") - (ratio >= 1)
    largest = [max(groups[one], key=lambda grid: grid[0] * grid[1]) for one in known]
    return np.array(largest, np.int64)[place]
