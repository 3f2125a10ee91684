"""What must hold inside one decoded pack, recomputed: feature counts from grids, pictures from
their headers.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from patchpack.arrays import PAYLOADS
from patchpack.layout import Pack

FEATURE = 1


def problems_in(pack: Pack) -> Iterator[str]:
    """A sentence for each thing that is wrong; none for a sound pack."""
    counts = np.concatenate([[0], np.cumsum(pack.arrays.token_kind == FEATURE)])
    for item in range(pack.header.items):
        start = pack.header.item_start[item]
        end = start + pack.header.item_length[item]
        features = int(counts[end] - counts[start])
        expected = _features_of(pack, item)
        if features != expected:
            yield f"item {item} has {features} feature tokens, its grids give {expected}"
        yield from _picture_problems(pack, item)
    inside = sum(_features_of(pack, item) for item in range(pack.header.items))
    if int(counts[-1]) != inside:
        yield f"{int(counts[-1])} feature tokens, the items have {inside}"


def _features_of(pack: Pack, item: int) -> int:
    grids = pack.arrays.grid_thw[pack.arrays.grid_item == item].astype(np.int64)
    return int(grids.prod(axis=1).sum()) // pack.header.merge[item] ** 2


def _picture_problems(pack: Pack, item: int) -> Iterator[str]:
    pictures = pack.payloads_of(item)
    if PAYLOADS[pack.arrays.payload[item]] == "source":
        found = hashlib.sha256(pictures[0].data.data).hexdigest()
        if found != pack.header.sha256[item]:
            yield f"item {item}: source bytes of sha256 {found}, not {pack.header.sha256[item]}"
        return
    canvas, thumbnail = (
        pack.arrays.canvas_wh[item].tolist(),
        pack.arrays.thumbnail_wh[item].tolist(),
    )
    period = 2 if any(thumbnail) else 1
    for number, picture in enumerate(pictures):
        wanted = thumbnail if number % period else canvas
        try:
            with Image.open(io.BytesIO(picture.data.data)) as shown:
                size, kind = list(shown.size), (shown.format or "").lower()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            yield f"item {item}: picture {number} does not open: {error}"
            continue
        if size != wanted:
            yield f"item {item}: picture {number} is {size}, its geometry says {wanted}"
        if number == 0 and kind != pack.header.item_format[item]:
            yield f"item {item}: picture is {kind}, the header says {pack.header.item_format[item]}"
