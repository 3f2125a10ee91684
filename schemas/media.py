"""What a resolution policy sees of media: columns over n of them, from headers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from schemas.ragged import Bools, Floats, Ints


@dataclass(frozen=True, kw_only=True)
class Media:
    """n media as a policy sees them; every array has length n.

    `kind` is image, video or view (a posed picture of a 3D scene, which a policy treats as an image
    unless it says more); `width` and `height` are pixels after the EXIF orientation; `frames` is 1
    and `fps` 0.0 for a picture; `clip_start` and `clip_end` are seconds, NaN where the record names
    no bound; `images` is the number of images and views in the same sample; `key` is 64 bits of
    the medium's sha256, from which a policy draws what is random in it.
    """

    kind: npt.NDArray[np.object_]
    width: Ints
    height: Ints
    frames: Ints
    fps: Floats
    clip_start: Floats
    clip_end: Floats
    images: Ints
    key: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.width)

    @cached_property
    def video(self) -> Bools:
        """[n] the rows that are videos; views and images are pictures."""
        if self.kind.strides == (0,):  # one word for all; a million comparisons take 20 ms
            return np.broadcast_to(self.kind[:1] == "video", len(self))
        return np.asarray(self.kind == "video", np.bool_)

    @property
    def wh(self) -> Ints:
        """[n, 2] width and height."""
        return np.stack([self.width, self.height]).T

    def take(self, rows: Ints | Bools | slice) -> Media:
        """The media at these positions, in this order."""
        return Media(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})

    @classmethod
    def concatenate(cls, parts: Sequence[Media]) -> Self:
        """The media of all parts, one part after another."""
        names = [one.name for one in fields(cls)]
        return cls(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})


def images(width: Ints, height: Ints) -> Media:
    """Media that are single images of these sizes in pixels."""
    n = len(width)
    one, zero = np.broadcast_to(np.int64(1), n), np.broadcast_to(np.float64(0), n)
    nan = np.broadcast_to(np.nan, n)
    return Media(
        kind=np.broadcast_to(np.array("image", object), n),
        width=np.asarray(width, np.int64),
        height=np.asarray(height, np.int64),
        frames=one,
        fps=zero,
        clip_start=nan,
        clip_end=nan,
        images=one,
        key=np.broadcast_to(np.uint64(0), n),
    )
