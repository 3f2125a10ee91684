"""The pictures of an item as its model sees them: decoded, drawn, cut, in the model's order.

What is left to do depends on the payload (docs/format.md): `source` is drawn first, of `pixels`
only the crops are cut. Needs Pillow. Bytes of a pack are not trusted: a picture of another size
than its geometry gives is refused before it is decoded.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from patchpack.arrays import ALPHAS, PAYLOADS
from patchpack.drawing import (
    MAX_PIXELS,
    PILLOW_ERRORS,
    cut,
    draw,
    has_drawn_thumbnail,
    is_turned_by_pillow,
    opaque,
    too_large,
    upright,
)
from patchpack.item_geometry import ItemGeometry, item_geometry
from patchpack.layout import FormatError, Pack, Payload
from patchpack.patches import Picture

FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "tiff", "ico")
_TURNED = 5  # from this EXIF code on, width and height are exchanged


def views(pack: Pack, item: int) -> list[Picture]:
    """The views of a picture, or of each frame of a video, in the order of `grid_thw`.

    A thumbnail that the model makes by itself is not among them. Raises FormatError naming the pack
    and the item for features, and for pictures that do not decode or have another size.
    """
    drawing, kind = item_geometry(pack, item), PAYLOADS[pack.arrays.payload[item]]
    if problem := "has features, no pictures" if kind == "features" else _size_problem(drawing):
        raise FormatError(f"pack {pack.header.key}: item {item} {problem}")
    stored = pack.payloads_of(item)
    if kind == "source":
        shown = [draw(_source(pack, item, stored[0]), drawing)]
    else:
        sizes = [drawing["view_wh"]]
        if has_drawn_thumbnail(drawing):
            sizes.append(drawing["thumbnail_wh"])
        step = len(sizes)
        pictures = [
            _opened(pack, item, one, sizes[number % step]).convert("RGB")
            for number, one in enumerate(stored)
        ]
        shown = [pictures[first : first + step] for first in range(0, len(pictures), step)]
    found = [one for pictures in shown for one in cut(pictures, drawing)]
    return [np.asarray(one) for one in found]


def _size_problem(drawing: ItemGeometry) -> str | None:
    """Sizes that no picture has; crops beyond the view would be made of any size."""
    if size := too_large(drawing):
        return f"has pictures of {size}"
    sizes = [drawing["resized_wh"], drawing["canvas_wh"], drawing["view_wh"], *drawing["via_wh"]]
    if has_drawn_thumbnail(drawing):
        sizes += [drawing["thumbnail_wh"], drawing["thumbnail_resized_wh"]]
    if min(map(min, sizes)) < 1:
        return "has pictures without pixels"
    (width, height), cut = drawing["view_wh"], 0
    pieces, crops = len(drawing.get("pieces", [])), len(drawing["crops_ltrb"])
    if pieces not in (0, crops):
        return f"has {pieces} pieces for {crops} crops"
    for left, top, right, bottom in drawing["crops_ltrb"]:
        if left < 0 or top < 0 or right > width or bottom > height:
            return f"is cut at {[left, top, right, bottom]}, beyond {width} x {height} pixels"
        cut += (right - left) * (bottom - top)
    for width, height, x, y, across, down in drawing.get("pieces", []):
        if x < 0 or y < 0 or width < 1 or height < 1 or x + width > across or y + height > down:
            return f"has a piece of {[width, height]} at {[x, y]} on {[across, down]}"
        cut += across * down
    return f"is cut into {cut} pixels" if cut > MAX_PIXELS else None


def _source(pack: Pack, item: int, payload: Payload) -> Image.Image:
    """The untouched file of a picture, upright and in RGB."""
    turn = int(pack.arrays.orientation[item])
    width, height = pack.header.item_source_wh[item]
    image = _opened(pack, item, payload, [width, height], turned=turn >= _TURNED)
    rgb = opaque(image, ALPHAS[pack.arrays.alpha[item]] == "white")
    return rgb if is_turned_by_pillow(image) else upright(rgb, turn)


def _opened(
    pack: Pack, item: int, payload: Payload, size: list[int], turned: bool = False
) -> Image.Image:
    """A decoded picture, which must be of this size, or of this size when turned."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(payload.data.data), formats=FORMATS)
            found, wanted = list(image.size), [size[::-1], size] if turned else [size]
            if found not in wanted or found[0] * found[1] > MAX_PIXELS:
                raise ValueError(f"is {found}, its geometry says {size}")
            image.load()
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        what = f"pack {pack.header.key}: item {item}: picture {error!s:.200}"
        raise FormatError(what) from error
    return image
