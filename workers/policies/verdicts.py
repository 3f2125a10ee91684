"""Which media a policy refuses, and why; the first reason of a row stands."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from schemas.reasons import Reason
from schemas.sized import Bools, Media

MAX_SIDE = 1 << 26
"""Pixels; the product of two such sides is exact in a double, as the references compute it."""

MIN_FPS, MAX_FPS = 1e-6, 1e6
MAX_FRAMES = (1 << 31) - 1


def _none(rows: int) -> npt.NDArray[np.object_]:
    return np.broadcast_to(np.array(None, object), rows)


class Verdicts:
    """The `drop` and `message` columns of n media while a policy fills them."""

    def __init__(self, rows: int) -> None:
        self.drop = self.message = _none(rows)
        self.kept: Bools = np.ones(rows, np.bool_)

    def refuse(self, where: Bools, reason: Reason, say: Callable[[int], str]) -> None:
        """Drop the rows of the mask that have no reason yet; `say` gives the sentence of a row."""
        for row in np.flatnonzero(where & self.kept).tolist():
            self.refuse_row(row, reason, say(row))

    def refuse_row(self, row: int, reason: Reason, message: str) -> None:
        """Drop one row."""
        if not self.drop.flags.writeable:
            self.drop, self.message = self.drop.copy(), self.message.copy()
        self.drop[row], self.message[row], self.kept[row] = reason, message, False


def is_video(media: Media) -> Bools:
    """The rows that are videos; views and images are pictures."""
    return media.video


def check(media: Media) -> Verdicts:
    """Refuse what no policy can size: impossible sides, videos without a frame or a rate."""
    verdicts = Verdicts(len(media))
    width, height = media.width, media.height
    verdicts.refuse(
        (np.minimum(width, height) < 1) | (np.maximum(width, height) > MAX_SIDE),
        Reason.BAD_SIZE,
        lambda row: f"{width[row]} x {height[row]} pixels; sides must lie in 1..{MAX_SIDE}",
    )
    if is_video(media).any():
        _check_videos(media, verdicts)
    return verdicts


def _check_videos(media: Media, verdicts: Verdicts) -> None:
    video, fps, frames = is_video(media), media.fps, media.frames
    verdicts.refuse(
        video & ~((fps >= MIN_FPS) & (fps <= MAX_FPS)),
        Reason.BAD_FRAME_RATE,
        lambda row: f"{fps[row]} frames a second; the rate must lie in {MIN_FPS:g}..{MAX_FPS:g}",
    )
    verdicts.refuse(
        video & (frames < 1), Reason.TOO_FEW_FRAMES, lambda row: f"{frames[row]} frames"
    )
    verdicts.refuse(
        video & (frames > MAX_FRAMES),
        Reason.BAD_SIZE,
        lambda row: f"{frames[row]} frames; at most {MAX_FRAMES} can be counted",
    )
