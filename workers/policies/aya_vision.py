"""Aya Vision: InternVL's grid in tiles of 364 pixels, each after its number in text.

1. Grid nearest in aspect ratio (as `internvl`), stretched to it, row by row.
2. `TILE_1`, `TILE_2`, ... before the tiles, `TILE_GLOBAL` before the thumbnail, which is last, or
   before a single tile; they are text, of as many tokens as the tokenizer makes of them.
Trade-off: 169 tokens a view, 171 to 2,199 a picture and the tags.
Source: huggingface/transformers 5.23.0 src/transformers/models/aya_vision/processing_aya_vision.py,
models/got_ocr2/image_processing_pil_got_ocr2.py.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Ints
from schemas.texts import token
from workers.policies.grids import square_views
from workers.policies.smaller import one_less
from workers.policies.stills import StillPolicy, Views, marked_runs
from workers.policies.tiles import candidate_grids, nearest_grid, tiled
from workers.policies.verdicts import Verdicts
from workers.text_config import Family

_START, _END = token("<|START_OF_IMG|>"), token("<|END_OF_IMG|>")


class AyaVision(StillPolicy):
    """Resolution policy of Aya Vision."""

    family: ClassVar[Family] = "cohere_vision"

    kind: Literal["aya_vision"] = "aya_vision"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    image_size: int = Field(default=364, ge=28, le=4096)
    """Pixels of a tile's side."""
    min_patches: int = Field(default=1, ge=1, le=256)
    """Fewest tiles."""
    max_patches: int = Field(default=12, ge=1, le=256)
    """Most tiles."""
    patch_size: int = Field(default=14, ge=1, le=256)
    downsample_factor: int = Field(default=2, ge=1, le=16)
    """Patches of a side of the block that becomes one token."""

    def views(self, wh: Ints, _: Verdicts) -> Views:
        """Tiles and the thumbnail, each a run."""
        tile, side = self.image_size, self.image_size // self.patch_size
        candidates = candidate_grids(self.min_patches, self.max_patches)
        grid = nearest_grid((wh[:, 0], wh[:, 1]), candidates, tile)
        pictures, views = tiled(grid, tile, use_thumbnail=True)
        by_views = np.stack([np.zeros_like(views), views], axis=1)
        layout = marked_runs(views, (side // self.downsample_factor) ** 2, by_views, _texts)
        grids = square_views(views, side)
        return Views(drawn=pictures, grid_thw=grids, merge=self.downsample_factor, layout=layout)

    def smaller(self) -> Self | None:
        """One tile less."""
        return one_less(self, "max_patches", self.min_patches)


def _texts(_: int, views: int) -> list[str]:
    tags = [*(f"TILE_{number}" for number in range(1, views)), "TILE_GLOBAL"]
    return [_START + tags[0], *tags[1:], _END]
