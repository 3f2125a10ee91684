"""LFM2-VL: small pictures at native resolution, large ones in tiles of 512 and a thumbnail.

1. The smart size: sides rounded to 32 pixels, the area within both budgets of tokens.
2. A picture of over `max_pixels_tolerance` times the largest area is cut into the nearest grid of
   `min_tiles` to `max_tiles` tiles; a thumbnail of the smart size is last.
Trade-off: 64 to 256 tokens a view; the tower pads each to 1,024 patches, of which a very long
picture has more than its mask has room for.
Source: huggingface/transformers 5.23.0 src/transformers/models/lfm2_vl/
{image_processing_lfm2_vl,processing_lfm2_vl}.py.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Ints, Ragged
from schemas.texts import token
from workers.policies.drawing import LAST, Thumbnail, drawn
from workers.policies.grids import square_views
from workers.policies.native import bounded
from workers.policies.smart_resize import smart_resize
from workers.policies.stills import StillPolicy, Views, one_grid, only, run_groups, texts_by_grid
from workers.policies.tiles import candidate_grids, nearest_grid, tile_boxes
from workers.policies.verdicts import Verdicts
from workers.text_config import Family

_START, _END, _SMALL = map(token, ("<|image_start|>", "<|image_end|>", "<|img_thumbnail|>"))


class Lfm2VL(StillPolicy):
    """Resolution policy of LFM2-VL."""

    family: ClassVar[Family] = "llava"

    kind: Literal["lfm2_vl"] = "lfm2_vl"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    tile_size: int = Field(default=512, ge=32, le=4096)
    """Pixels of a tile's side."""
    min_tiles: int = Field(default=2, ge=1, le=256)
    max_tiles: int = Field(default=10, ge=1, le=256)
    min_image_tokens: int = Field(default=64, ge=1, le=65536)
    """Of a view of the smart size."""
    max_image_tokens: int = Field(default=256, ge=1, le=65536)
    encoder_patch_size: int = Field(default=16, ge=1, le=256)
    downsample_factor: int = Field(default=2, ge=1, le=16)
    """Patches of a side of the block that becomes one token."""
    max_pixels_tolerance: float = Field(default=2.0, gt=0, le=1000)
    """Largest areas that a picture may have before it is cut."""
    do_image_splitting: bool = True
    """Off: one view alone."""
    use_thumbnail: bool = True

    def views(self, wh: Ints, _: Verdicts) -> Views:
        """Tiles and the thumbnail, or one view; each a run."""
        patch, unit = self.encoder_patch_size, self.encoder_patch_size * self.downsample_factor
        most = self.max_image_tokens * unit**2
        sides = bounded(wh, self.min_image_tokens * unit**2, most)
        smart = smart_resize(sides, unit, "qwen_vl_utils_0.0.11")
        near = np.maximum(np.rint(wh / unit).astype(np.int64) * unit, patch)
        split = (near.prod(axis=1) > most * self.max_pixels_tolerance) & self.do_image_splitting
        candidates = candidate_grids(self.min_tiles, self.max_tiles)
        grid = nearest_grid((wh[:, 0], wh[:, 1]), candidates, self.tile_size) * split[:, None]
        small = split & self.use_thumbnail
        whole = ~split | small
        pictures = drawn(
            np.where(split[:, None], grid * self.tile_size, smart),
            crops=tile_boxes(grid, self.tile_size),
            thumbnail=Thumbnail(where=small * LAST, wh=smart * small[:, None]),
            resample="bilinear",
        )
        tiles, side = grid.prod(axis=1), self.tile_size // patch
        tokens = np.full(len(wh), (self.tile_size // unit) ** 2)
        grids = Ragged.join([square_views(tiles, side), only(one_grid(smart, patch), whole)])
        texts = texts_by_grid(grid, self._texts)
        runs = [(tiles, tokens), (whole.astype(np.int64), (smart // unit).prod(axis=1))]
        layout = run_groups(runs, texts)
        return Views(drawn=pictures, grid_thw=grids, merge=self.downsample_factor, layout=layout)

    def smaller(self) -> Self | None:
        """One tile less, then no tiles."""
        if self.do_image_splitting and self.max_tiles > self.min_tiles:
            return self.model_copy(update={"max_tiles": self.max_tiles - 1})
        off = {"do_image_splitting": False}
        return self.model_copy(update=off) if self.do_image_splitting else None

    def _texts(self, columns: int, rows: int) -> list[str]:
        if not columns:
            return [_START, _END]
        places = [(row + 1, column + 1) for row in range(rows) for column in range(columns)]
        tags = [token(f"<|img_row_{row}_col_{column}|>") for row, column in places]
        tags += [_SMALL] * self.use_thumbnail
        return [_START + tags[0], *tags[1:], _END]
