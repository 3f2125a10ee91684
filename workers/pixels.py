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

from patchpack.drawing import (
    MAX_PIXELS,
    draw,
    is_turned_by_pillow,
    opaque,
    resized,
    too_large,
    upright,
)
from patchpack.item_geometry import Drawing
from schemas.reasons import Reason
from workers.faults import Fault
from workers.headers import open_picture, picture_format, pillow_faults

cv2.setNumThreads(1)  # as many tasks run beside each other as there are CPUs

Alpha = Literal["drop", "white"]
"""`drop` keeps the colours behind the transparency, as `convert("RGB")` does; `white` composites on
white, as transformers does since 5.x."""

Codec = Literal["jpeg", "webp", "png"]

Resampler = Literal["pillow", "opencv"]

MAX_SIDE: Mapping[Codec, int] = {"jpeg": 65500, "webp": 16383, "png": 2**31 - 1}
"""Pixels that a side of a picture may have in the file formats."""

_CV2_FILTERS = {
    "bicubic": cv2.INTER_CUBIC,
    "bilinear": cv2.INTER_LINEAR,
    "lanczos": cv2.INTER_LANCZOS4,
}
_KEPT_FORMATS = ("jpeg", "png", "webp")
_NOT_KEPT = frozenset({"animated", "multi_picture", "sixteen_bit"})


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
        rgb = opaque(image, alpha == "white")
    rgb.info = {}
    return rgb if is_turned_by_pillow(image) else upright(rgb, orientation)


def render(
    image: Image.Image, drawing: Drawing, resampler: Resampler = "pillow"
) -> list[Image.Image]:
    """The pictures to store of an RGB picture: the finished view, then its thumbnail if one is
    drawn.

    Raises Fault(too_many_pixels) before a picture larger than any that is decoded would be made.
    """
    if size := too_large(drawing):
        what = f"{size[0]}×{size[1]} pixels on the way, at most {MAX_PIXELS} are allowed"
        raise Fault(Reason.TOO_MANY_PIXELS, what)
    return draw(image, drawing, resized if resampler == "pillow" else _resized_by_opencv)


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


def passes_through(item: ItemRow, sized: Drawing) -> bool:
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


def _resized_by_opencv(image: Image.Image, size: tuple[int, int], resample: str) -> Image.Image:
    return Image.fromarray(_by_opencv(np.asarray(image), *size, resample))


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
