"""The frames of LLaVA-OneVision and LLaVA-Video: which, at what time, with newlines where.

Sources: LLaVA-VL/LLaVA-NeXT llava/utils.py (`process_video_with_decord`), llava/train/train.py (the
time instruction), llava/model/llava_arch.py (`get_2dPool`, `add_token_per_grid`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from schemas.reasons import Reason
from schemas.sized import NEWLINE, Bools, Floats, Ints, Media, Ragged, Texts
from workers.policies.layouts import part, texts_by
from workers.policies.spacing import linspace
from workers.policies.verdicts import Verdicts, is_video

PoolMode = Literal["bilinear", "average", "max"]
Newlines = Literal["one_token", "no_token", "frame", "grid"]

POOL_STRIDE = 2
"""The code pools by its default whatever `mm_spatial_pool_stride` says."""
MOST_FRAMES = 1 << 20
"""Looked at in one video without `frames_upbound`."""


@dataclass(frozen=True)
class Sampling:
    """A frame each 1 / `video_fps` s, in whole steps; `frames_upbound` spread over the clip if
    those are more, or by `force_sample`; 0 is no bound.
    """

    video_fps: float
    frames_upbound: int
    force_sample: bool

    def frames(self, length: int, fps: float) -> Ints:
        """The frames of a clip, counted from its first."""
        step = self._step(length, fps)
        if step == 0:
            return linspace(length, self.frames_upbound)
        return np.arange(0, length, step, dtype=np.int64)

    def times(self, length: int, fps: float) -> Floats:
        """What the reference takes for the seconds of these frames: frames at whole steps count one
        a second, whatever `video_fps` is.
        """
        return self.frames(length, fps) / (self._step(length, fps) or fps)

    def instruction(self, length: int, fps: float) -> str:
        """The sentence of training with duration and time of each frame."""
        times = [f"{time:.2f}s" for time in self.times(length, fps).tolist()]
        return (
            f"The video lasts for {length / fps:.2f} seconds, and {len(times)} frames are "
            f"uniformly sampled from it. These frames are located at {','.join(times)}."
            "Please answer the following questions related to this video."
        )

    def refuse(self, media: Media, verdicts: Verdicts) -> None:
        """Refuse a video whose step is 0 frames, and one of too many frames."""
        step = np.rint(media.fps / self.video_fps)
        verdicts.refuse(
            is_video(media) & (step == 0),
            Reason.BAD_FRAME_RATE,
            lambda row: (
                f"{media.fps[row]} frames a second, of which {self.video_fps} are to be "
                "looked at (video_fps): a step of 0 frames"
            ),
        )
        verdicts.refuse(
            is_video(media) & (self.frames_upbound == 0) & (media.frames > MOST_FRAMES * step),
            Reason.TOO_MANY_FRAMES,
            lambda row: (
                f"{media.frames[row]} frames in steps of {step[row]:.0f}; at most "
                f"{MOST_FRAMES} are looked at without frames_upbound"
            ),
        )

    def _step(self, length: int, fps: float) -> int:
        """Frames from one to the next; 0 where they are spread over the clip."""
        step = round(fps / self.video_fps)
        spread = -(-length // step) > self.frames_upbound or self.force_sample
        return 0 if self.frames_upbound and spread else step


def instructions(media: Media, lengths: Ints, sampling: Sampling) -> Texts:
    """`Sampling.instruction` on lines of its own after each video; `lengths` are those of clips."""
    written: dict[int, tuple[str, ...]] = {
        row: ("", f"\n{sampling.instruction(int(lengths[row]), float(media.fps[row]))}\n")
        for row in np.flatnonzero(lengths).tolist()
    }
    return texts_by(np.arange(len(media)), written)


def pooled_side(side: int, mode: PoolMode) -> int:
    """Tokens of a side of a frame: bilinear pooling rounds up (14 of 27), the others down (13)."""
    return -(-side // POOL_STRIDE) if mode == "bilinear" else side // POOL_STRIDE


def frame_part(shown: Bools, frames: Ints, side: int, newlines: Newlines) -> Ragged:
    """The part of videos of `side`² tokens a frame: a newline after the video, none, after each
    frame, or after each row of each frame.
    """
    if newlines == "grid":
        return part(shown, frames * side, side, NEWLINE)
    if newlines == "frame":
        return part(shown, frames, side**2, NEWLINE)
    return part(shown, 1, frames * side**2, NEWLINE if newlines == "one_token" else 0)
