"""The geometry of one item of a pack, as the columns of docs/format.md have it."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from patchpack.arrays import RESAMPLES, THUMBNAIL_SOURCES, THUMBNAILS
from patchpack.layout import FormatError, Pack

MAX_PATCHES = 1 << 24
"""Of an item: more than any picture that is decoded, or any clip that fits a pack, has."""


class _Sizes(TypedDict):
    resized_wh: list[int]
    canvas_wh: list[int]
    paste_xy: list[int]
    view_wh: list[int]
    thumbnail: str
    thumbnail_of: str
    thumbnail_wh: list[int]
    thumbnail_resized_wh: list[int]
    thumbnail_xy: list[int]


class Placement(_Sizes):
    """What moves pixels."""

    crops_ltrb: list[list[int]]
    pieces: NotRequired[list[list[int]]]
    """For each crop its size, place and canvas; few families have any."""


class Drawing(_Sizes):
    """What shapes pixels, up to the view that crops are cut from."""

    via_wh: list[list[int]]
    transposed: bool
    pad_rgb: list[int]
    resample: str


class ItemGeometry(Placement, Drawing):
    """Both."""


def item_geometry(pack: Pack, item: int) -> ItemGeometry:
    """Of one item."""
    arrays = pack.arrays
    return {
        "via_wh": arrays.via_wh[arrays.via_item == item].tolist(),
        "transposed": bool(arrays.transposed[item]),
        "resized_wh": pack.header.item_resized_wh[item],
        "canvas_wh": arrays.canvas_wh[item].tolist(),
        "paste_xy": arrays.paste_xy[item].tolist(),
        "pad_rgb": arrays.pad_rgb[item].tolist(),
        "view_wh": arrays.view_wh[item].tolist(),
        "resample": RESAMPLES[arrays.resample[item]],
        "thumbnail": THUMBNAILS[arrays.thumbnail[item]],
        "thumbnail_of": THUMBNAIL_SOURCES[arrays.thumbnail_of[item]],
        "thumbnail_wh": arrays.thumbnail_wh[item].tolist(),
        "thumbnail_resized_wh": arrays.thumbnail_resized_wh[item].tolist(),
        "thumbnail_xy": arrays.thumbnail_xy[item].tolist(),
        "crops_ltrb": arrays.crops_ltrb[arrays.crops_item == item].tolist(),
        "pieces": arrays.pieces[arrays.pieces_item == item].tolist(),
    }


def grids_of(pack: Pack, item: int) -> list[list[int]]:
    """t, h, w of each view of an item. Raises FormatError where they say more patches than there
    can be, so that what is made for each of them fits into memory.
    """
    grids: list[list[int]] = pack.arrays.grid_thw[pack.arrays.grid_item == item].tolist()
    if sum(t * h * w for t, h, w in grids) > MAX_PATCHES:
        raise FormatError(f"pack {pack.header.key}: item {item}: grids of {grids[:3]} patches")
    return grids
