"""What is measured of a picture, from one decode at reduced size.

A JPEG is decoded at a half, a quarter or an eighth, as its blocks allow, so that a side stays above
64 pixels; every measure and both hashes take that picture. Perceptual hashes are those of
`imagehash.phash`: the low frequencies of a cosine transform of a small grey picture, above their
median or not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from workers.pixels import decode

VERSION = 1

Colour = npt.NDArray[np.uint8]

_LEAST_SIDE = 64
_MEASURED_SIDE = 256
_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}


class PictureSignals(NamedTuple):
    """Of one picture; hashes as bytes, most significant bit first."""

    sharpness: float
    entropy: float
    brightness: float
    contrast: float
    colourfulness: float
    blank: bool
    phash: bytes  # 8
    phash256: bytes  # 32


def picture_signals(data: bytes, kind: str, width: int, height: int) -> PictureSignals:
    """Of a picture's bytes; `kind`, width and height are the survey's.

    Raises Fault where it does not decode.
    """
    colour = _at_most(reduced(data, kind, min(width, height)), _MEASURED_SIDE)
    measured = np.asarray(cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY), np.uint8)
    large = cv2.resize(measured, (64, 64), interpolation=cv2.INTER_AREA)
    small = cv2.resize(large, (32, 32), interpolation=cv2.INTER_AREA)
    histogram = cv2.calcHist([measured], [0], None, [256], [0, 256]).reshape(-1).astype(np.float64)
    share = histogram[histogram > 0] / measured.size
    mean, deviation = _spread(measured)
    return PictureSignals(
        sharpness=_spread(cv2.Laplacian(measured, cv2.CV_16S))[1] ** 2,
        entropy=float(-(share * np.log2(share)).sum()),
        brightness=mean,
        contrast=deviation,
        colourfulness=_colourfulness(colour),
        blank=bool(deviation < 1.0 and np.ptp(measured) <= 8),
        phash=_phash(small, 8),
        phash256=_phash(large, 16),
    )


def reduced(data: bytes, kind: str, side: int) -> Colour:
    """BGR, by OpenCV at reduced size or by Pillow; `side` is the shorter one of the whole picture.

    Raises Fault where it does not decode.
    """
    if kind == "jpeg":
        factor = next(f for f in (8, 4, 2, 1) if side // f >= _LEAST_SIDE or f == 1)
        flags = _REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION
        found = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if found is not None:
            return np.asarray(found, np.uint8)
    picture = np.asarray(decode(data, 1, "white"))
    return np.ascontiguousarray(picture[:, :, ::-1])


def _at_most(picture: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _colourfulness(picture: Colour) -> float:
    """Hasler and Süsstrunk, Measuring colourfulness in natural images (2003): M3."""
    blue, green, red = cv2.split(picture.astype(np.int16))
    (red_green, of_red), (yellow_blue, of_yellow) = (
        _spread(one) for one in (red - green, red + green - 2 * blue)
    )
    return float(np.hypot(of_red, of_yellow / 2) + 0.3 * np.hypot(red_green, yellow_blue / 2))


def _spread(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean and standard deviation."""
    mean, deviation = cv2.meanStdDev(values)
    return float(mean.item()), float(deviation.item())


def phash64(grey: npt.NDArray[np.uint8]) -> bytes:
    """The 64-bit perceptual hash of a grey picture that is small already."""
    return _phash(cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA), 8)


def _phash(small: npt.NDArray[Any], side: int) -> bytes:
    """`side`² bits of a grey picture of four times that side. Source: JohannesBuchner/imagehash
    imagehash/__init__.py (`phash`).
    """
    low = cv2.dct(small.astype(np.float32))[:side, :side]
    return np.packbits(low > np.median(low)).tobytes()
