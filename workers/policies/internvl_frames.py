"""The frames that InternVL trains on, unlike those that it evaluates on (`internvl_middles.py`).

1. Their number is drawn uniformly, both bounds included; a shorter clip repeats its last frame.
2. `middle`: the middle of each of as many equal stretches of the clip. `rand`: a frame drawn in
   each, never its last; a sorted draw without return where some stretch is one frame.
3. `fps`: the middle of each 1 / rate seconds; what exceeds the limit is cut off the end.
The reference draws anew in every epoch, with Python's and numpy's generators; here a draw follows
from a seed and the medium's digest, so that a plan and its shards see the same frames.
Source: OpenGVLab/InternVL internvl_chat/internvl/train/dataset.py (`get_frame_indices`,
`read_frames_decord`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any, Literal

import numpy as np

from schemas.reasons import Reason
from schemas.sized import Ints, Media, Texts
from workers.policies.draws import Keys, uniform
from workers.policies.frames import Picked
from workers.policies.layouts import texts_by
from workers.policies.verdicts import Verdicts, is_video

Sampling = Literal["segments", "middle", "rand", "fps"]

MOST = 1 << 16
"""Frames at a rate that no video may exceed."""
_FAR_S = 1e12
"""Seconds beyond any video; keeps the arithmetic of infinite bounds finite."""


def sampling_of(fields: dict[str, Any]) -> Sampling:
    """The sampling that these settings of InternVL are about."""
    if fields["sample_fps"] is not None:
        return "fps"
    return "segments" if fields["num_frames"] is None else "middle"


def fewer(sampling: Sampling, settings: Mapping[str, Any]) -> dict[str, int]:
    """The settings that say how many frames, halved down to 4; empty where nothing is left."""
    drawn = ("num_frames", "min_num_frame", "max_num_frame")
    names = {"segments": ("num_segments",), "fps": ("max_num_frames",)}.get(sampling, drawn)
    counts = {name: settings[name] for name in names if settings[name] is not None}
    counts = {name: count if count > 0 else MOST for name, count in counts.items()}
    return {name: max(count // 2, 4) for name, count in counts.items() if count > 4}


def names(frames: Ints, name: str) -> Texts:
    """`Frame1: ` before the first frame, a line end and `Frame2: ` before the next, ..."""
    counts = [count for count in np.unique(frames).tolist() if count]
    written = {
        count: (f"{name}1: ", *(f"\n{name}{i}: " for i in range(2, count + 1)), "\n")
        for count in counts
    }
    return texts_by(frames, written)


@dataclass(frozen=True, kw_only=True)
class Training:
    """How frames are chosen for training."""

    sampling: Sampling
    """Any but `segments`."""
    counts: tuple[int, int]
    """Fewest and most frames, for the draw of `middle` and `rand`."""
    rate: float
    """Frames a second of `fps`."""
    limit: int
    """Most frames of `fps`; none below 1."""
    seed: int

    def pick(self, media: Media, verdicts: Verdicts) -> Picked:
        """The frames of every video; refuses a clip that is empty or leads out of the video."""
        picks: dict[int, Ints] = {}
        seconds: dict[int, float] = {}
        for row in np.flatnonzero(is_video(media) & verdicts.kept).tolist():
            fps, frames = float(media.fps[row]), int(media.frames[row])
            first, length = _clip(media, row)
            clip = f"clip of frames {first} to {first + length - 1} in a video of {frames}"
            if first < 0 or length < 1:
                verdicts.refuse_row(row, Reason.BAD_CLIP, clip)
                continue
            at = f"{length / fps:.2f} s at {self.rate} frames a second"
            if self.sampling == "fps" and self.limit < 1 and length / fps * self.rate > MOST:
                verdicts.refuse_row(row, Reason.OVER_BUDGET, f"{at}: more than {MOST} frames")
                continue
            places = self._places(length, fps, media.key[row : row + 1])
            if not len(places):
                verdicts.refuse_row(row, Reason.TOO_FEW_FRAMES, f"{at}: no frame to look at")
            elif first + int(places.max()) >= frames:
                verdicts.refuse_row(row, Reason.BAD_CLIP, clip)
            else:
                picks[row] = first + places
                rate = self.rate if self.sampling == "fps" else len(places) / length * fps
                seconds[row] = 1 / rate
        return Picked.of(picks, seconds, len(media))

    def _places(self, length: int, fps: float, key: Keys) -> Ints:
        """Frames of a clip, counted from its first."""
        if self.sampling == "fps":
            return self._at_rate(length, fps)
        fewest, most = self.counts
        wanted = fewest + int(uniform(key, self.seed)[0] * (most - fewest + 1))
        count = min(wanted, length)
        bounds = np.linspace(0, length, count + 1).astype(np.int64)
        starts, lasts = bounds[:-1], bounds[1:] - 1
        if self.sampling == "middle":
            places = (starts + lasts) // 2
        elif (starts == lasts).any():
            order = np.argsort(uniform(key, self.seed, 1 + np.arange(length)), kind="stable")
            places = np.sort(order[:count])
        else:
            draws = uniform(key, self.seed, 1 + np.arange(count))
            places = np.minimum(starts + (draws * (lasts - starts)).astype(np.int64), lasts - 1)
        return np.concatenate([places, np.repeat(places[-1:], wanted - count)])

    def _at_rate(self, length: int, fps: float) -> Ints:
        gap = 1 / self.rate
        start, stop = 0 + gap / 2, length / fps + gap / 2
        if self.limit > 0:
            stop = min(stop, start + (self.limit + 1) * gap)
        places = np.around(np.arange(start, stop, gap) * fps).astype(np.int64)
        places = places[places < length]
        return places[: self.limit] if self.limit > 0 else places


def _clip(media: Media, row: int) -> tuple[int, int]:
    """The first frame and the number of frames, in the reference's order of operations."""
    frames, fps = int(media.frames[row]), float(media.fps[row])
    start, end = float(media.clip_start[row]), float(media.clip_end[row])
    if isnan(start) and isnan(end):
        return 0, frames
    start = 0.0 if isnan(start) else max(-_FAR_S, min(start, _FAR_S))
    end = frames / fps if isnan(end) else max(-_FAR_S, min(end, _FAR_S))
    return int(start * fps), int((end - start) * fps)
