"""Idefics3 and SmolVLM: every picture enlarged to `longest_edge`, in tiles, then a global view.

1. The long side becomes `longest_edge`, the short one even; then both are stretched up to tiles.
2. The tiles row by row, each after its row and column; last the enlarged picture on one tile.
Trade-off: an icon of 224 x 224 costs as much as a page (2,910 tokens with 364-pixel tiles).
Source: huggingface/transformers 5.23.0 src/transformers/models/idefics3/
{image_processing_pil_idefics3,processing_idefics3}.py; models/smolvlm/ is the same arithmetic.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Ints, Ragged
from schemas.texts import token
from workers.policies.drawing import LAST, Thumbnail, drawn, square
from workers.policies.grids import square_views
from workers.policies.stills import StillPolicy, Views, marked_runs
from workers.policies.tiles import tile_boxes
from workers.policies.verdicts import Verdicts
from workers.text_config import Family

_FAKE, _GLOBAL = token("<fake_token_around_image>"), token("<global-img>")


class Idefics3(StillPolicy):
    """Resolution policy of Idefics3, SmolVLM and SmolVLM2."""

    family: ClassVar[Family] = "llava"

    kind: Literal["idefics3"] = "idefics3"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    image_size: int = Field(default=364, ge=28, le=4096)
    """Pixels of a tile's side: 364 in Idefics3, 384 in SmolVLM, 512 in SmolVLM2."""
    longest_edge: int = Field(default_factory=lambda f: 4 * f["image_size"], ge=28, le=4096)
    """Pixels of the long side."""
    patch_size: int = Field(default=14, ge=1, le=256)
    scale_factor: int = Field(default=2, ge=1, le=16)
    """Patches of a side of the block that becomes one token."""
    do_image_splitting: bool = True
    """Off: one view alone."""

    def views(self, wh: Ints, _: Verdicts) -> Views:
        """Tiles and the global view, each a run."""
        tile = self.image_size
        first = _long_edge(wh, self.longest_edge)
        stretched = _to_tiles(first, tile)
        split = (stretched.max(axis=1) > tile) & self.do_image_splitting
        resized = np.where(split[:, None], stretched, tile)
        grid = resized // tile * split[:, None]
        views = grid.prod(axis=1) + 1
        pictures = drawn(
            resized,
            via=Ragged.where((first != resized).any(axis=1), first),
            crops=tile_boxes(grid, tile),
            thumbnail=Thumbnail(where=split * LAST, wh=square(tile, split), of="canvas"),
            resample="lanczos",
        )
        side = tile // self.patch_size
        layout = marked_runs(views, (side // self.scale_factor) ** 2, grid, _texts)
        grids = square_views(views, side)
        return Views(drawn=pictures, grid_thw=grids, merge=self.scale_factor, layout=layout)

    def smaller(self) -> Self | None:
        """One tile less along the long side, then no tiles."""
        if self.do_image_splitting and self.longest_edge > 2 * self.image_size:
            return self.model_copy(update={"longest_edge": self.longest_edge - self.image_size})
        off = {"do_image_splitting": False}
        return self.model_copy(update=off) if self.do_image_splitting else None


def _long_edge(wh: Ints, edge: int) -> Ints:
    width, height = wh.T
    short = np.trunc(np.where(width >= height, edge / (width / height), edge * (width / height)))
    short = np.maximum(short + short % 2, 1)
    long = np.full_like(short, edge)
    sides = np.where(width >= height, (long, short), (short, long))
    return sides.T.astype(np.int64)


def _to_tiles(wh: Ints, tile: int) -> Ints:
    width, height = wh.T
    ratio, wide = width / height, width >= height
    long = np.ceil(np.maximum(width, height) / tile) * tile
    short = np.ceil(np.trunc(np.where(wide, long / ratio, long * ratio)) / tile) * tile
    return np.where(wide, (long, short), (short, long)).T.astype(np.int64)


def _texts(columns: int, rows: int) -> list[str]:
    places = [(row, column) for row in range(1, rows + 1) for column in range(1, columns + 1)]
    tiles = [
        ("\n" if column == 1 and row > 1 else "") + _FAKE + token(f"<row_{row}_col_{column}>")
        for row, column in places
    ]
    return [*tiles, ("\n\n" if tiles else "") + _FAKE + _GLOBAL, _FAKE]
