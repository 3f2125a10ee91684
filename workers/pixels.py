"""Pixels by a plan: bytes → an upright RGB picture → the pictures that a pack stores.

A policy's `Sized` row says the sizes (`Drawn` in schemas/sized.py, step by step); here they are
applied. Crops are not cut: a pack stores the finished view, and a thumbnail beside it.
Pillow's version is part of what shapes the bytes (13.0 resizes differently from 12). OpenCV is
faster and gives other pixels: docs/policies.md says how much.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Literal, TypedDict

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from schemas.reasons import Reason
from workers.faults import Fault
from workers.headers import (
    MAX_PIXELS,
    has_alpha,
    is_turned_by_pillow,
    open_picture,
    picture_format,
    pillow_faults,
)

cv2.setNumThreads(1)  # as many tasks run beside each other as there are CPUs

Alpha = Literal["drop", "white"]
"""`drop` keeps the colours behind the transparency, as `convert("RGB")` does; `white` composites on
white, as transformers does since 5.x."""

Codec = Literal["jpeg", "webp", "png"]

Resampler = Literal["pillow", "opencv"]

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
_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}
_CV2_FILTERS = {
    "bicubic": cv2.INTER_CUBIC,
    "bilinear": cv2.INTER_LINEAR,
    "lanczos": cv2.INTER_LANCZOS4,
}
_WHITE = (255, 255, 255, 255)
_KEPT_FORMATS = ("jpeg", "png", "webp")
_NOT_KEPT = frozenset({"animated", "multi_picture", "sixteen_bit"})


class SizedRow(TypedDict):
    """The columns of a `SIZED_ITEM` row that shape pixels, as `to_pylist` gives them."""

    via_wh: list[list[int]]
    transposed: bool
    resized_wh: list[int]
    canvas_wh: list[int]
    paste_xy: list[int]
    pad_rgb: list[int]
    view_wh: list[int]
    resample: str
    thumbnail: str
    thumbnail_of: str
    thumbnail_wh: list[int]
    thumbnail_resized_wh: list[int]
    thumbnail_xy: list[int]


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


def render(
    image: Image.Image, sized: SizedRow, resampler: Resampler = "pillow"
) -> list[Image.Image]:
    """The pictures to store of an RGB picture: the finished view, then its thumbnail if one is
    drawn.

    Raises Fault(too_many_pixels) before a picture larger than any that is decoded would be made.
    """
    _check_areas(sized)
    hand = _Hand(sized["resample"], resampler)
    turned = image.transpose(Image.Transpose.TRANSPOSE) if sized["transposed"] else image
    for size in (*sized["via_wh"], sized["resized_wh"]):
        turned = hand.resized(turned, size[::-1] if sized["transposed"] else size)
    upright = turned.transpose(Image.Transpose.TRANSPOSE) if sized["transposed"] else turned
    canvas = _pasted(upright, sized["canvas_wh"], sized["paste_xy"], sized["pad_rgb"])
    view = hand.resized(canvas, sized["view_wh"])
    if sized["thumbnail"] == "none" or sized["thumbnail_of"] == "model":
        return [view]
    small = image if sized["thumbnail_of"] == "source" else view
    small = hand.resized(small, sized["thumbnail_resized_wh"])
    return [
        view,
        _pasted(small, sized["thumbnail_wh"], sized["thumbnail_xy"], sized["pad_rgb"]),
    ]


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
        and not sized["via_wh"]
        and [item["width"], item["height"]] == sized["resized_wh"] == sized["canvas_wh"]
        and sized["view_wh"] == sized["canvas_wh"]
        and (sized["thumbnail"] == "none" or sized["thumbnail_of"] == "model")
    )


def _opaque(image: Image.Image, alpha: Alpha) -> Image.Image:
    if alpha == "drop" or not has_alpha(image):
        return image.convert("RGB")
    # the same calls as transformers.image_transforms.convert_to_rgb
    background = Image.new("RGBA", image.size, _WHITE)
    return Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")


class _Hand:
    """Resizes with one filter of one library."""

    def __init__(self, resample: str, resampler: Resampler) -> None:
        self._resample, self._resampler = resample, resampler

    def resized(self, image: Image.Image, size: list[int]) -> Image.Image:
        width, height = size
        if image.size == (width, height):
            return image
        if self._resampler == "pillow":
            return image.resize((width, height), _FILTERS[self._resample])
        return Image.fromarray(_by_opencv(np.asarray(image), width, height, self._resample))


def _by_opencv(
    pixels: npt.NDArray[np.uint8], width: int, height: int, resample: str
) -> npt.NDArray[np.uint8]:
    """Shrunk by averages, then enlarged: OpenCV's other filters look at a few source pixels only,
    however many become one.
    """
    less = (min(width, pixels.shape[1]), min(height, pixels.shape[0]))
    for size, method in ((less, cv2.INTER_AREA), ((width, height), _CV2_FILTERS[resample])):
        if size != pixels.shape[1::-1]:
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=method), np.uint8)
    return pixels


def _pasted(image: Image.Image, canvas_wh: list[int], xy: list[int], rgb: list[int]) -> Image.Image:
    width, height = canvas_wh
    if image.size == (width, height):
        return image
    red, green, blue = rgb
    canvas = Image.new("RGB", (width, height), (red, green, blue))
    left, top = xy
    canvas.paste(image, (left, top))
    return canvas


def _sizes(sized: SizedRow) -> list[list[int]]:
    """Every picture on the way."""
    ends = [sized["resized_wh"], sized["canvas_wh"], sized["view_wh"], sized["thumbnail_wh"]]
    return [*sized["via_wh"], *ends]


def _check_areas(sized: SizedRow) -> None:
    for width, height in _sizes(sized):
        if width * height > MAX_PIXELS:
            what = f"{width}×{height} pixels on the way, at most {MAX_PIXELS} are allowed"
            raise Fault(Reason.TOO_MANY_PIXELS, what)
