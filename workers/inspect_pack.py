"""What must hold inside one decoded pack, recomputed: kinds of tokens from the parts of each item,
pictures from their headers, cameras of the views from the geometry, places from the grids.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from patchpack.arrays import PAYLOADS, THUMBNAIL_SOURCES
from patchpack.item_geometry import item_geometry
from patchpack.layout import FEATURE_DTYPES, Pack
from patchpack.view_maps import Floats
from workers.cameras import lenses
from workers.expand import Kinds, VisionBlock, equal_lengths


def problems_in(pack: Pack) -> Iterator[str]:
    """A sentence for each thing that is wrong; none for a sound pack."""
    inside = 0
    for item in range(pack.header.items):
        start = pack.header.item_start[item]
        kinds = pack.arrays.token_kind[start : start + pack.header.item_length[item]]
        inside += (planned := _planned(pack, item))
        if not _has_kinds(pack, item, kinds[kinds > 0], planned):
            have = np.count_nonzero(kinds)
            yield f"item {item} has {have} embeddings, its parts give {planned} or other kinds"
        yield from _picture_problems(pack, item)
        yield from _camera_problems(pack, item)
    total = np.count_nonzero(pack.arrays.token_kind)
    if total != inside:
        yield f"{total} embeddings, the items have {inside}"


def _planned(pack: Pack, item: int) -> int:
    """Embeddings that its parts give; 0 where one of its runs would have none."""
    groups = equal_lengths(_parts(pack, item))
    if min(length for length, _ in groups) < 1:
        return 0
    return int(pack.arrays.runs[item]) * sum(length * count for length, count in groups)


def _has_kinds(pack: Pack, item: int, found: Kinds, planned: int) -> bool:
    """Whether its embeddings are what its parts give."""
    if len(found) != planned or not planned:  # parts may say more than fits into memory
        return False
    runs = int(pack.arrays.runs[item])
    block = VisionBlock(pack.header.item_kind[item], _parts(pack, item), runs)
    return np.array_equal(found, np.tile(block.run_kinds(), runs))


def _parts(pack: Pack, item: int) -> list[list[int]]:
    parts: list[list[int]] = pack.arrays.parts[pack.arrays.part_item == item].tolist()
    return parts


def _picture_problems(pack: Pack, item: int) -> Iterator[str]:
    pictures = pack.payloads_of(item)
    if PAYLOADS[pack.arrays.payload[item]] == "features":
        yield from _feature_problems(pack, item)
        return
    if PAYLOADS[pack.arrays.payload[item]] == "source":
        found = hashlib.sha256(pictures[0].data.data).hexdigest()
        if found != pack.header.sha256[item]:
            yield f"item {item}: source bytes of sha256 {found}, not {pack.header.sha256[item]}"
        return
    view, thumbnail = pack.arrays.view_wh[item].tolist(), pack.arrays.thumbnail_wh[item].tolist()
    model_made = THUMBNAIL_SOURCES[pack.arrays.thumbnail_of[item]] == "model"
    period = 2 if any(thumbnail) and not model_made else 1
    for number, picture in enumerate(pictures):
        wanted = thumbnail if number % period else view
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


def _feature_problems(pack: Pack, item: int) -> Iterator[str]:
    """Features of each grid, with a scale a row where they are int8; as many rows for a patch in
    all of them.
    """
    stored = pack.payloads_of(item)
    dtype = FEATURE_DTYPES.get(pack.header.item_format[item])
    step = 2 if dtype == "I8" else 1
    views, scales = stored[::step], stored[1::2] if step == 2 else []
    kinds = {(one.dtype, one.data.shape[1]) for one in views}
    if len(kinds) != 1 or kinds.pop()[0] != dtype:
        yield f"item {item}: its features differ, or are not {pack.header.item_format[item]}"
    rows = [len(one.data) for one in views]
    if scales and [len(one.data) for one in scales] != rows:
        yield f"item {item}: its scales are not as many as its features"
    kept = np.count_nonzero(pack.arrays.kept_item == item)
    grids = pack.arrays.grid_thw[pack.arrays.grid_item == item]
    patches = [kept] if kept else grids.prod(axis=1).tolist()
    if len(rows) != len(patches) or not all(rows):
        yield f"item {item} has features of {len(rows)} views, its grids say {len(patches)}"
    elif len({(n // count, n % count) for n, count in zip(patches, rows, strict=True)}) > 1:
        yield f"item {item} has {rows} rows of features for {patches} patches"


def _camera_problems(pack: Pack, item: int) -> Iterator[str]:
    arrays = pack.arrays
    known = arrays.intrinsics[(arrays.camera_item == item) & ~np.isnan(arrays.intrinsics[:, 0])]
    seen = arrays.view_intrinsics[arrays.view_item == item]
    wanted = [lens for one in known for lens in _lenses(pack, item, one.tolist())]
    if not np.array_equal(seen, np.array(wanted).reshape(-1, 4)):
        yield f"item {item}: the cameras of its {len(seen)} views are not those of its geometry"
    places = np.count_nonzero(arrays.xyz_item == item)
    patches = int(arrays.grid_thw[arrays.grid_item == item].prod(axis=1).sum())
    if places not in (0, patches):
        yield f"item {item} has places of {places} patches, its grids have {patches}"


def _lenses(pack: Pack, item: int, intrinsics: list[float]) -> list[Floats]:
    """What the cameras of the views must be; none where a size is 0."""
    arrays, source_wh = pack.arrays, pack.header.item_source_wh[item]
    if not (all(source_wh) and arrays.canvas_wh[item].all() and arrays.view_wh[item].all()):
        return []
    return lenses(intrinsics, source_wh, item_geometry(pack, item))
