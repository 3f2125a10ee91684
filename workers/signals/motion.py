"""What is measured of a video, from some frames at a small size: how much of it stands still, how
much moves, how often the scene changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from workers.signals.picture import phash64
from workers.video import Seekable, frames

VERSION = 1

FRAMES = 32
"""At most, evenly spread over the clip."""
_SIDE = 64
_SAME_BITS = 4
"""Of 64 in which perceptual hashes of the same view differ at most."""
_CUT = 0.5
"""Half the difference of two histograms of colours, 0 to 1, from which on it is another scene."""

Small = npt.NDArray[np.uint8]


class MotionSignals(NamedTuple):
    """Of one video."""

    static: float
    motion: float
    scene_cuts: int


def motion_signals(file: Seekable, clip: tuple[int, int], orientation: int) -> MotionSignals:
    """Of the frames from `clip[0]` to before `clip[1]`. Raises Fault where one does not decode."""
    return _of_frames(_small(frames(file, picked(clip), orientation)))


def picked(clip: tuple[int, int]) -> list[int]:
    """The frames that are looked at: the middles of equal parts."""
    start, end = clip
    count = min(FRAMES, end - start)
    return [start + (2 * place + 1) * (end - start) // (2 * count) for place in range(count)]


def _of_frames(shown: Sequence[Small]) -> MotionSignals:
    greys = [np.asarray(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), np.uint8) for one in shown]
    hashes = [int.from_bytes(phash64(one), "big") for one in greys]
    colours = [_histogram(one) for one in shown]
    pairs = max(len(shown) - 1, 1)
    same = sum((one ^ other).bit_count() <= _SAME_BITS for one, other in pairwise(hashes))
    moved = [float(cv2.absdiff(one, other).mean()) for one, other in pairwise(greys)]
    cuts = sum(float(np.abs(one - other).sum()) / 2 > _CUT for one, other in pairwise(colours))
    return MotionSignals(same / pairs, sum(moved) / pairs, cuts)


def _small(pictures: Iterable[Image.Image]) -> list[Small]:
    size = (_SIDE, _SIDE)
    return [
        np.asarray(cv2.resize(np.asarray(one), size, interpolation=cv2.INTER_AREA), np.uint8)
        for one in pictures
    ]


def _histogram(picture: Small) -> npt.NDArray[np.float64]:
    """Shares of 64 colours."""
    counts = cv2.calcHist([picture], [0, 1, 2], None, [4, 4, 4], [0, 256] * 3)
    shares: npt.NDArray[np.float64] = counts.reshape(-1).astype(np.float64) / (_SIDE * _SIDE)
    return shares
