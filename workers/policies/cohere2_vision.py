"""Cohere Command A Vision: the grid of tiles that a picture fits by scale, and a thumbnail.

1. Grid: all of `max_patches` tiles or fewer, by scale (`fitting.best_fit`); stretched to it.
2. Several tiles are followed by a thumbnail; a line break after each view.
3. A view counts `patch_size` squared tokens, as the published processor has it: with 512-pixel
   tiles as many as there are blocks of patches.
Trade-off: 257 tokens a view, 259 to 3,343 a picture.
Source: huggingface/transformers 5.23.0 src/transformers/models/cohere2_vision/
{image_processing_cohere2_vision,processing_cohere2_vision}.py.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Ints
from schemas.texts import token
from workers.policies.fitting import best_fit
from workers.policies.grids import square_views
from workers.policies.smaller import one_less
from workers.policies.stills import StillPolicy, Views, marked_runs
from workers.policies.tiles import candidate_grids, tiled
from workers.policies.verdicts import Verdicts
from workers.text_config import Family

_START, _END, _BREAK = map(token, ("<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_LINE_BREAK|>"))


class Cohere2Vision(StillPolicy):
    """Resolution policy of Command A Vision."""

    family: ClassVar[Family] = "cohere_vision"

    kind: Literal["cohere2_vision"] = "cohere2_vision"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    image_size: int = Field(default=512, ge=32, le=4096)
    """Pixels of a tile's side."""
    max_patches: int = Field(default=12, ge=1, le=256)
    """Most tiles."""
    patch_size: int = Field(default=16, ge=1, le=256)
    downsample_factor: int = Field(default=2, ge=1, le=16)
    """Patches of a side of the block that becomes one token."""

    def views(self, wh: Ints, _: Verdicts) -> Views:
        """Tiles and the thumbnail, each a run."""
        tile, side = self.image_size, self.image_size // self.patch_size
        grids = np.array(candidate_grids(1, self.max_patches), np.int64)
        grid = grids[best_fit(wh, [(w, h) for w, h in (grids * tile).tolist()])]
        pictures, views = tiled(grid, tile, use_thumbnail=True)
        by_views = np.stack([np.zeros_like(views), views], axis=1)
        layout = marked_runs(views, self.patch_size**2, by_views, _texts)
        grids_thw = square_views(views, side)
        return Views(
            drawn=pictures, grid_thw=grids_thw, merge=self.downsample_factor, layout=layout
        )

    def smaller(self) -> Self | None:
        """One tile less."""
        return one_less(self, "max_patches")


def _texts(_: int, views: int) -> list[str]:
    return [_START, *[_BREAK] * (views - 1), _BREAK + _END]
