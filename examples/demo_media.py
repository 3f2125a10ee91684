"""The media of the demo, made from pictures: encoded files, a moving camera, posed views.

Everything is computed from its arguments; no chance, no clock, and one thread where the number of
threads would show in the bytes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

Codec = Literal["libx264", "libvpx"]
Pixels = npt.NDArray[np.uint8]

_WRITE: dict[str, dict[str, int]] = {
    "jpeg": {"quality": 88},
    "png": {"compress_level": 3},
    "webp": {"quality": 85, "method": 2},
}
_TURN = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What a camera held as the EXIF code says stores of an upright scene."""


class View(NamedTuple):
    """A picture and the camera that took it: fx, fy, cx, cy, and camera to world."""

    picture: Image.Image
    intrinsics: list[float]
    pose: list[list[float]]


def encode(picture: Image.Image, kind: str) -> bytes:
    """The picture as jpeg, png or webp."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **_WRITE[kind])
    return buffer.getvalue()


def encode_turned(picture: Image.Image, orientation: int) -> bytes:
    """A JPEG of a camera held askew: stored turned, and upright again by its EXIF orientation."""
    turn, exif, buffer = _TURN[orientation], Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = orientation
    stored = picture if turn is None else picture.transpose(turn)
    stored.save(buffer, "jpeg", quality=88, exif=exif)
    return buffer.getvalue()


def scaled(picture: Image.Image, factor: float) -> Image.Image:
    """The picture with its sides times the factor."""
    width, height = (max(1, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def crop(picture: Image.Image, ltrb: tuple[float, float, float, float]) -> Image.Image:
    """A part of the picture, its edges as shares of width and height."""
    width, height = picture.size
    left, top, right, bottom = ltrb
    across = round(left * width), round(right * width)
    down = round(top * height), round(bottom * height)
    return picture.crop((across[0], down[0], across[1], down[1]))


def film(picture: Image.Image, frames: int, size: tuple[int, int]) -> Iterator[Pixels]:
    """A camera that moves from left to right over the picture, comes nearer and rolls a little."""
    pixels = np.asarray(picture.convert("RGB"))
    height, width = pixels.shape[:2]
    for frame in range(frames):
        share = frame / max(frames - 1, 1)
        zoom = size[1] / height * (1.3 + 0.5 * share)
        matrix = cv2.getRotationMatrix2D(
            (width * (0.35 + 0.3 * share), height / 2), 8 * math.sin(math.pi * share), zoom
        )
        matrix[:, 2] += np.array(size) / 2 - (width * (0.35 + 0.3 * share), height / 2)
        yield cv2.warpAffine(pixels, matrix, size, borderMode=cv2.BORDER_REFLECT).astype(np.uint8)


def encode_video(frames: Iterator[Pixels], kind: str, codec: Codec, fps: int) -> bytes:
    """The frames as a video file; `kind` is FFmpeg's name of the container."""
    buffer = io.BytesIO()
    options = {"fflags": "+bitexact"}  # Matroska would draw a random id
    with av.open(buffer, "w", format=kind, container_options=options) as container:
        # x264's AVX-512 code reads memory that nobody wrote: other bytes in every run
        plain = {"x264-params": "no-asm=1"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=fps, options=plain)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # x264 writes its number into the file
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for number, pixels in enumerate(frames):
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def posed_views(picture: Image.Image, count: int, size: tuple[int, int]) -> list[View]:
    """The picture as a poster in the world, taken by cameras on an arc around it.

    The poster is 2 wide, in the plane z = 0, with y up; axes of a camera as in OpenCV: x right, y
    down, z forward.
    """
    pixels = np.asarray(picture.convert("RGB"))
    height, width = pixels.shape[:2]
    step = 2 / width
    to_world = np.array(
        [[step, 0, -1], [0, -step, height * step / 2], [0, 0, 0], [0, 0, 1]]
    )  # from a pixel of the poster
    focal = 1.1 * size[0]
    intrinsics = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]])
    views = []
    for number in range(count):
        pose = _looking_at_origin(math.radians(60 * number / max(count - 1, 1) - 30), 2.4)
        matrix = intrinsics @ np.linalg.inv(pose)[:3] @ to_world
        taken = cv2.warpPerspective(pixels, matrix, size, borderValue=(96, 96, 96))
        values = [focal, focal, size[0] / 2, size[1] / 2]
        rows = [[round(float(value), 9) for value in row] for row in pose]
        views.append(View(Image.fromarray(taken.astype(np.uint8)), values, rows))
    return views


def _looking_at_origin(angle: float, distance: float) -> npt.NDArray[np.float64]:
    """Camera to world of a camera that stands a little above, turned by the angle."""
    place = np.array([distance * math.sin(angle), 0.4, distance * math.cos(angle)])
    forward = -place / np.linalg.norm(place)
    right = np.cross(forward, (0.0, 1.0, 0.0))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(forward, right), forward, place], axis=1)
    return pose
