"""From an upright RGB picture to the pictures that a model's views are cut from, by its geometry.

The pipeline draws with this when it stores `pixels`, a trainer when it reads `source`: the same
steps, so with the same Pillow the same bytes (13.0 resizes differently from 12). Needs Pillow.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence

from PIL import Image, TiffImagePlugin

from patchpack.item_geometry import Drawing, ItemGeometry

MAX_PIXELS = 178_956_970
"""Twice Pillow's own warning level, where Pillow itself refuses."""

PILLOW_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What Pillow raises on odd bytes; only calls of Pillow on bytes in memory are guarded."""

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}
_WHITE = (255, 255, 255, 255)

Resize = Callable[[Image.Image, tuple[int, int], str], Image.Image]
"""A picture, another size and the name of a filter: the resized picture."""


def has_alpha(image: Image.Image) -> bool:
    """Whether the picture has transparency, by transformers' rule."""
    return "A" in image.getbands() or image.info.get("transparency") is not None


def opaque(image: Image.Image, white: bool) -> Image.Image:
    """In RGB. Transparency is dropped, as by `convert("RGB")`, or composited on white."""
    if not (white and has_alpha(image)):
        return image.convert("RGB")
    # the same calls as transformers.image_transforms.convert_to_rgb
    background = Image.new("RGBA", image.size, _WHITE)
    return Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")


def is_turned_by_pillow(image: Image.Image) -> bool:
    """Whether decoding already applies the orientation."""
    return isinstance(image, TiffImagePlugin.TiffImageFile)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture turned by an EXIF code; 1 leaves it."""
    turn = _TURN.get(orientation)
    return image if turn is None else image.transpose(turn)


def resized(image: Image.Image, size: tuple[int, int], resample: str) -> Image.Image:
    """By Pillow."""
    return image.resize(size, _FILTERS[resample])


def too_large(drawing: Drawing) -> list[int] | None:
    """The first size on the way that is larger than any picture that is decoded."""
    ends = [drawing[name] for name in ("resized_wh", "canvas_wh", "view_wh", "thumbnail_wh")]
    for width, height in (*drawing["via_wh"], *ends, drawing["thumbnail_resized_wh"]):
        if width * height > MAX_PIXELS:
            return [width, height]
    return None


def draw(image: Image.Image, drawing: Drawing, resize: Resize = resized) -> list[Image.Image]:
    """The finished view, from which crops are cut, then its thumbnail if one is drawn."""

    def to(picture: Image.Image, size: list[int]) -> Image.Image:
        width, height = size
        same = picture.size == (width, height)
        return picture if same else resize(picture, (width, height), drawing["resample"])

    turned = image.transpose(Image.Transpose.TRANSPOSE) if drawing["transposed"] else image
    for size in (*drawing["via_wh"], drawing["resized_wh"]):
        turned = to(turned, size[::-1] if drawing["transposed"] else size)
    ready = turned.transpose(Image.Transpose.TRANSPOSE) if drawing["transposed"] else turned
    canvas = _pasted(ready, drawing["canvas_wh"], drawing["paste_xy"], drawing["pad_rgb"])
    view = to(canvas, drawing["view_wh"])
    if not has_drawn_thumbnail(drawing):
        return [view]
    small = to(
        image if drawing["thumbnail_of"] == "source" else view, drawing["thumbnail_resized_wh"]
    )
    at, rgb = drawing["thumbnail_xy"], drawing["pad_rgb"]
    return [view, _pasted(small, drawing["thumbnail_wh"], at, rgb)]


def cut(pictures: Sequence[Image.Image], geometry: ItemGeometry) -> list[Image.Image]:
    """The views of one picture or frame in the model's order, of what `draw` gives."""
    view, *thumbnail = pictures
    boxes = [(left, top, right, low) for left, top, right, low in geometry["crops_ltrb"]]
    crops = [view.crop(box) for box in boxes] or [view]
    if pieces := geometry.get("pieces"):
        crops = [_placed(crop, piece, geometry) for crop, piece in zip(crops, pieces, strict=True)]
    first = geometry["thumbnail"] == "first"
    return [*thumbnail, *crops] if first else [*crops, *thumbnail]


def _placed(crop: Image.Image, piece: list[int], drawing: Drawing) -> Image.Image:
    """A crop resized and pasted on a canvas of its own."""
    width, height, left, top, *canvas_wh = piece
    same = crop.size == (width, height)
    ready = crop if same else resized(crop, (width, height), drawing["resample"])
    return _pasted(ready, canvas_wh, [left, top], drawing["pad_rgb"])


def has_drawn_thumbnail(drawing: Drawing) -> bool:
    """Whether there is a thumbnail that the model does not make by itself."""
    return drawing["thumbnail"] != "none" and drawing["thumbnail_of"] != "model"


def _pasted(image: Image.Image, canvas_wh: list[int], xy: list[int], rgb: list[int]) -> Image.Image:
    width, height = canvas_wh
    if image.size == (width, height):
        return image
    red, green, blue = rgb
    canvas = Image.new("RGB", (width, height), (red, green, blue))
    left, top = xy
    canvas.paste(image, (left, top))
    return canvas
