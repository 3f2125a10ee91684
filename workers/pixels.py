"""Pixels by a plan: bytes → an upright RGB picture → the pictures that a pack stores.

A policy's `Sized` row says the sizes; here they are applied: a bicubic resize, pasted on a canvas
where the policy pads. Crops are not cut: a pack stores the canvas, and a thumbnail beside it.
Pillow's version is part of what shapes the bytes (13.0 resizes differently from 12).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Literal, TypedDict

from PIL import Image

from schemas.reasons import Reason
from workers.faults import Fault
from workers.headers import (
    has_alpha,
    is_turned_by_pillow,
    open_picture,
    picture_format,
    pillow_faults,
)

Alpha = Literal["drop", "white"]
"""`drop` keeps the colours behind the transparency, as `convert("RGB")` does; `white` composites on
white, as transformers does since 5.x."""

Codec = Literal["jpeg", "webp", "png"]

MAX_SIDE: Mapping[Codec, int] = {"jpeg": 65500, "webp": 16383, "png": 2**31 - 1}
"""Pixels that a side of a picture may have in the file formats."""

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE = (255, 255, 255, 255)
_KEPT_FORMATS = ("jpeg", "png", "webp")
_NOT_KEPT = frozenset({"animated", "multi_picture", "sixteen_bit"})


class SizedRow(TypedDict):
    """The columns of a `SIZED_ITEM` row that shape pixels, as `to_pylist` gives them."""

    resized_wh: list[int]
    canvas_wh: list[int]
    paste_xy: list[int]
    pad_rgb: list[int]
    thumbnail: str
    thumbnail_wh: list[int]


class ItemRow(TypedDict):
    """The columns of a surveyed item that tell whether its bytes can be kept."""

    format: str
    mode: str
    alpha: bool
    width: int
    height: int
    orientation: int
    notes: list[str]


def decode(data: bytes, orientation: int, alpha: Alpha) -> Image.Image:
    """The picture in RGB, turned upright by the recorded EXIF code, without metadata.

    Raises Fault: undecodable, truncated, not_media, empty_file, too_many_pixels.
    """
    kind = picture_format(data)
    image = open_picture(data, kind)
    with pillow_faults(kind):
        image.load()
        rgb = _opaque(image, alpha)
    rgb.info = {}
    return rgb if is_turned_by_pillow(image) else upright(rgb, orientation)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture turned by an EXIF code; 1 leaves it."""
    turn = _TURN.get(orientation)
    return image if turn is None else image.transpose(turn)


def render(image: Image.Image, sized: SizedRow) -> list[Image.Image]:
    """The pictures to store of an RGB picture: its canvas, then its thumbnail if there is one."""
    canvas = _resized(image, sized["resized_wh"])
    if sized["canvas_wh"] != sized["resized_wh"]:
        red, green, blue = sized["pad_rgb"]
        width, height = sized["canvas_wh"]
        left, top = sized["paste_xy"]
        padded = Image.new("RGB", (width, height), (red, green, blue))
        padded.paste(canvas, (left, top))
        canvas = padded
    if sized["thumbnail"] == "none":
        return [canvas]
    return [canvas, _resized(image, sized["thumbnail_wh"])]


def encode(image: Image.Image, codec: Codec) -> bytes:
    """The picture's file: jpeg at quality 95 without chroma subsampling, webp and png lossless.

    Raises Fault(too_many_pixels) where a side is longer than the format can say.
    """
    if max(image.size) > MAX_SIDE[codec]:
        what = f"{image.width}×{image.height} when resized, {codec} holds {MAX_SIDE[codec]} a side"
        raise Fault(Reason.TOO_MANY_PIXELS, what)
    out = io.BytesIO()
    if codec == "jpeg":
        image.save(out, "jpeg", quality=95, subsampling=0)
    elif codec == "webp":
        image.save(out, "webp", lossless=True, exact=True)
    else:
        image.save(out, "png")
    return out.getvalue()


def passes_through(item: ItemRow, sized: SizedRow) -> bool:
    """Whether the stored bytes already are the one picture that `render` would give."""
    return (
        item["format"] in _KEPT_FORMATS
        and item["mode"] == "RGB"
        and not item["alpha"]
        and item["orientation"] == 1
        and _NOT_KEPT.isdisjoint(item["notes"])
        and [item["width"], item["height"]] == sized["resized_wh"] == sized["canvas_wh"]
        and sized["thumbnail"] == "none"
    )


def _opaque(image: Image.Image, alpha: Alpha) -> Image.Image:
    if alpha == "drop" or not has_alpha(image):
        return image.convert("RGB")
    # the same calls as transformers.image_transforms.convert_to_rgb
    background = Image.new("RGBA", image.size, _WHITE)
    return Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")


def _resized(image: Image.Image, size: list[int]) -> Image.Image:
    width, height = size
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.BICUBIC)
