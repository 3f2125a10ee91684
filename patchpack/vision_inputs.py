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
    """[n, d] bfloat16 or float16: the stored features of all items, in the order of the tokens of
    kind `vision`; None for a pack without items.

    Raises FormatError for pictures, and for int8, whose scales format 1 does not hold.
    """
    import torch

    kinds = {PAYLOADS[number] for number in np.unique(pack.arrays.payload)}
    dtypes = {payload.dtype for payload in pack.payloads}
    if kinds - {"features"} or len(dtypes) > 1 or dtypes - {"BF16", "F16"}:
        what = f"holds {sorted(kinds)} of {sorted(dtypes)}, not features of one dtype"
        raise FormatError(f"pack {pack.header.key}: {what}")
    if not pack.payloads:
        return None
    rows = torch.from_numpy(np.concatenate([payload.data for payload in pack.payloads]))
    return rows.view(torch.bfloat16) if dtypes == {"BF16"} else rows
