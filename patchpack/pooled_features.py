"""From what a projector makes of stored features to the features of an item's tokens.

A pack holds what comes out of the frozen tower. What some models do behind their projector needs no
weights, but its place is there: bilinear interpolation before a projector is not the same as after
it. These functions take projected rows, [rows, d] of each view, and keep the reference's order:

1. LLaVA-NeXT, OneVision: the tiles' maps are stitched, cut to the picture, and, of `anyres_max`,
   reduced bilinearly where they are too many; the whole picture comes first.
2. Frames of LLaVA-OneVision, LLaVA-Video and LLaVA-NeXT-Video are pooled by 2.
3. Oryx's compressor is learned, and looks at the patches of each token: `blocks` cuts them out.

Sources: LLaVA-VL/LLaVA-NeXT llava/model/llava_arch.py; huggingface/transformers models/llava_next,
llava_onevision, llava_next_video; Oryx-mllm/Oryx oryx/model/multimodal_resampler/perceiver.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from patchpack.arrays import THUMBNAILS
from patchpack.item_geometry import grids_of
from patchpack.layout import FormatError, Pack

if TYPE_CHECKING:
    from torch import Tensor

Pool = Literal["bilinear", "average", "max"]

_VISION, _NEWLINE = 1, 2
"""Values of `token_kind`."""


def vision_tokens(
    pack: Pack, item: int, views: Sequence[Tensor], pool: Pool = "bilinear"
) -> Tensor:
    """[n, d] for the n tokens of kind `vision` of an item, in order; newlines and other embeddings
    are the model's own (kinds 2 and 3 of `token_kind`).

    `views` are [rows, d] as `item_features` gives them and the projector makes of them; `pool` is
    the model's `mm_spatial_pool_mode`. Raises FormatError where the rows fit the tokens in no way.
    """
    import torch

    start = pack.header.item_start[item]
    kinds = pack.arrays.token_kind[start : start + pack.header.item_length[item]]
    wanted = int(np.count_nonzero(kinds == _VISION))
    rows = sum(map(len, views))
    found = None
    if (tiling := _tiling(pack, item)) and len(views) > 1:
        found = _of_tiles(pack, item, views, tiling, wanted)
    elif rows == wanted:
        found = torch.cat(list(views))
    elif pack.header.item_kind[item] == "video":
        grids = {(h, w) for _, h, w in grids_of(pack, item)}
        side, other = grids.pop() if len(grids) == 1 else (1, 0)
        if side == other > 0 and rows % side**2 == 0:
            frames = torch.cat(list(views)).view(-1, side**2, views[0].shape[1])
            found = pooled(frames, pool).flatten(0, 1)
    if found is None or len(found) != wanted:
        what = f"{rows} rows of features for {wanted} tokens"
        raise FormatError(f"pack {pack.header.key}: item {item}: {what}")
    return found


def pooled(frames: Tensor, pool: Pool) -> Tensor:
    """[f, k * k, d] of [f, s * s, d]: k = ceil(s / 2) bilinearly, s // 2 otherwise."""
    from torch.nn import functional

    count, patches, channels = frames.shape
    side = int(patches**0.5)
    maps = frames.view(count, side, side, channels).permute(0, 3, 1, 2).contiguous()
    if pool == "bilinear":
        half = -(-side // 2)
        small = functional.interpolate(maps, size=[half, half], mode="bilinear")
    else:
        reduce = functional.avg_pool2d if pool == "average" else functional.max_pool2d
        small = reduce(maps, 2)
    return small.flatten(2).transpose(1, 2).contiguous()


def stitched(tiles: Tensor, columns: int, rows: int) -> Tensor:
    """[d, rows * s, columns * s] of the maps of tiles, [rows * columns, s * s, d]."""
    _, patches, channels = tiles.shape
    side = int(patches**0.5)
    maps = tiles.view(rows, columns, side, side, channels).permute(4, 0, 2, 1, 3)
    return maps.reshape(channels, rows * side, columns * side)


def unpadded(features: Tensor, size_wh: tuple[int, int], digits: int | None = None) -> Tensor:
    """A map [d, h, w] without what saw only padding around a picture of this size. `digits` is the
    decimals that transformers rounds to (7); the original truncates.
    """
    (width, height), (high, wide) = size_wh, features.shape[1:]
    across = width / height > wide / high
    content = height * (wide / width) if across else width * (high / height)
    content = int(content if digits is None else round(content, digits))
    if across:
        cut = (high - content) // 2
        return features[:, cut : high - cut]
    cut = (wide - content) // 2
    return features[:, :, cut : wide - cut]


def blocks(rows: Tensor, grid_hw: tuple[int, int], side: int) -> Tensor:
    """[h / side * w / side, side * side, d] of [h * w, d]: the patches behind each token; their
    mean over the middle axis is Oryx's pooled token, which then attends to them.
    """
    height, width = grid_hw
    split = rows.view(height // side, side, width // side, side, rows.shape[1])
    return split.transpose(1, 2).reshape(-1, side * side, rows.shape[1])


def _tiling(pack: Pack, item: int) -> tuple[int, int] | None:
    """Columns and rows of tiles of a picture whose map is stitched: after the whole picture come
    the rows of the map with a newline each.
    """
    ends = pack.arrays.parts[pack.arrays.part_item == item, 2].tolist()
    first = THUMBNAILS[pack.arrays.thumbnail[item]] == "first"
    crops = pack.arrays.crops_ltrb[pack.arrays.crops_item == item]
    if not first or ends != [0, _NEWLINE]:
        return None
    if not len(crops):  # one tile: the view is shown whole
        return 1, 1
    return len(np.unique(crops[:, 0])), len(np.unique(crops[:, 1]))


def _of_tiles(
    pack: Pack, item: int, views: Sequence[Tensor], tiling: tuple[int, int], wanted: int
) -> Tensor | None:
    """The whole picture, then the map of its tiles as large as the item's second part says; None
    where that is not what there are tokens for.
    """
    import torch
    from torch.nn import functional

    whole, *tiles = views
    columns, rows = tiling
    square = int(len(whole) ** 0.5) ** 2
    if columns * rows != len(tiles) or {len(one) for one in views} != {square}:
        return None
    width, height = pack.header.item_source_wh[item]
    size = pack.arrays.parts[pack.arrays.part_item == item][1, :2].tolist()
    if min(width, height, *size) < 1 or size[0] * size[1] != wanted - len(whole):
        return None
    features = stitched(torch.stack(tiles), columns, rows)
    digits = 7 if "/hf_" in pack.header.policy[item] else None
    features = unpadded(features, (width, height), digits)
    if 0 in features.shape:
        return None
    if list(features.shape[1:]) != size:
        features = functional.interpolate(features[None], size, mode="bilinear")[0]
    return torch.cat([whole, features.flatten(1).T])
