"""What the vision side of a model takes of a pack: flat patches, tiles, or stored features.

Pictures come in the order of the pack, those of videos apart. Nothing is there for a pack without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from patchpack.arrays import PAYLOADS
from patchpack.layout import FormatError, Pack
from patchpack.patches import Normalization, Picture, Pixels, flat_patches, tiles
from patchpack.views import views

if TYPE_CHECKING:
    from torch import Tensor


def flat_inputs(pack: Pack, by: Normalization, temporal_patch_size: int = 2) -> dict[str, Tensor]:
    """`pixel_values` and `pixel_values_videos` [patches, 3 * temporal_patch_size * P * P], as the
    Qwen2-VL family takes them beside the grids of `collate`.

    Raises FormatError as `views`, and where pictures do not fit their grids.
    """
    import torch

    found: dict[str, list[Pixels]] = {}
    for item, kind in enumerate(pack.header.item_kind):
        grids = pack.arrays.grid_thw[pack.arrays.grid_item == item].tolist()
        name = "pixel_values_videos" if kind == "video" else "pixel_values"
        seen = views(pack, item)
        each = [seen] if kind == "video" else [[view] for view in seen]
        try:
            found.setdefault(name, []).extend(
                flat_patches(
                    shown,
                    grid,
                    by,
                    merge=pack.header.merge[item],
                    temporal_patch_size=temporal_patch_size,
                )
                for shown, grid in zip(each, grids, strict=True)
            )
        except ValueError as error:
            raise FormatError(f"pack {pack.header.key}: item {item}: {error}") from None
    return {name: torch.from_numpy(np.concatenate(rows)) for name, rows in found.items()}


def tile_inputs(pack: Pack, by: Normalization) -> dict[str, Tensor]:
    """`pixel_values` [n, 3, H, W] of models whose views all have one size: LLaVA-1.5, InternVL.

    Raises FormatError as `views`, and where the views have several sizes.
    """
    import torch

    seen: Sequence[Picture] = [
        view for item in range(pack.header.items) for view in views(pack, item)
    ]
    if not seen:
        return {}
    try:
        return {"pixel_values": torch.from_numpy(tiles(seen, by))}
    except ValueError as error:
        raise FormatError(f"pack {pack.header.key}: {error}") from None


def features(pack: Pack) -> Tensor | None:
    """[n, d] bfloat16 or float16: the stored features of all items, view after view in the order of
    `grid_thw`; None for a pack without items. They stand for the tokens of kind `vision` one by one
    unless the model pools them first (`collate.vision_tokens`).

    Raises FormatError for pictures.
    """
    import torch

    rows = [one for item in range(pack.header.items) for one in item_features(pack, item)]
    if len({(one.dtype, one.shape[1]) for one in rows}) > 1:
        raise FormatError(f"pack {pack.header.key}: holds features of several encoders")
    return torch.cat(rows) if rows else None


def item_features(pack: Pack, item: int) -> list[Tensor]:
    """[rows, d] of each view of an item, in the order of `grid_thw`; a frame group is one view.
    int8 comes with its scales applied, in bfloat16.

    Raises FormatError for pictures, and where scales are missing.
    """
    import torch

    key, stored = pack.header.key, pack.payloads_of(item)
    if PAYLOADS[pack.arrays.payload[item]] != "features":
        raise FormatError(f"pack {key}: item {item} has pictures, no features")
    if stored[0].dtype != "I8":
        if len({one.dtype for one in stored}) > 1:
            raise FormatError(f"pack {key}: item {item} has features of several dtypes")
        found = [torch.from_numpy(np.array(one.data)) for one in stored]
        bits = stored[0].dtype == "BF16"
        return [one.view(torch.bfloat16) if bits else one for one in found]
    found = []
    if len(stored) % 2:
        raise FormatError(f"pack {key}: item {item} lacks the scales of its int8 features")
    for rows, scales in zip(stored[::2], stored[1::2], strict=True):
        (count, width), (scaled_rows, groups) = rows.data.shape, scales.data.shape
        fitting = scaled_rows == count and groups > 0 and width % groups == 0
        if (rows.dtype, scales.dtype) != ("I8", "BF16") or not fitting:
            raise FormatError(f"pack {key}: item {item} lacks the scales of its int8 features")
        whole = rows.data.reshape(count, groups, width // groups).astype(np.float32)
        factor = torch.from_numpy(np.array(scales.data)).view(torch.bfloat16).float()
        scaled = torch.from_numpy(whole) * factor[:, :, None]
        found.append(scaled.view(count, -1).to(torch.bfloat16))
    return found
