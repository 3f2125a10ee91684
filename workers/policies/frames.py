"""Which frames of a video are looked at: clip bounds and evenly spread indices.

`torch.linspace(...).round()` of the references is float32, and its answer depends on the processor
(one index off in about one video of ten); the same points are computed here as exact fractions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor, isnan
from typing import Self

import numpy as np

from schemas.reasons import Reason
from schemas.sized import Bools, Floats, Ints, Media, Ragged
from workers.policies.verdicts import Verdicts, is_video

UNBOUNDED_S = 100000.0
"""Seconds that InternVL takes for a missing clip bound."""


@dataclass(frozen=True)
class Picked:
    """The frames of n media: absolute indices, none for a picture; seconds from one to the next."""

    indices: Ragged
    seconds: Floats

    @property
    def counts(self) -> Ints:
        """Frames a row; 0 for a picture and for a refused video."""
        return self.indices.counts

    @classmethod
    def of(cls, picks: dict[int, Ints], seconds: dict[int, float], rows: int) -> Self:
        """From the indices of the rows that are videos, in ascending order of the rows."""
        counts, gaps = np.zeros(rows, np.int64), np.zeros(rows)
        for row, indices in picks.items():
            counts[row], gaps[row] = len(indices), seconds[row]
        values = np.concatenate(list(picks.values())) if picks else np.zeros(0, np.int64)
        return cls(Ragged.from_counts(values, counts), gaps)

    def only(self, rows: Bools) -> Self:
        """The same with nothing picked in the other rows."""
        if not len(self.indices.values):
            return self
        values = self.indices.values[np.repeat(rows, self.counts)]
        return type(self)(Ragged.from_counts(values, self.counts * rows), self.seconds * rows)


@dataclass(frozen=True)
class FrameRule:
    """How many frames of a clip are looked at, and which."""

    count: Callable[[int, float], int]
    """From the frames of the clip and its frames a second."""
    least: int
    place: Callable[[int, int, int], Ints]
    """The indices, from the first frame, the last and the count."""
    repeats: bool = False
    """Whether a clip with fewer frames than the count has some of them twice."""


def pick(media: Media, rule: FrameRule, verdicts: Verdicts) -> Picked:
    """The frames of every video; refuses a clip that is empty or shorter than the rule needs."""
    picks: dict[int, Ints] = {}
    seconds: dict[int, float] = {}
    for row in np.flatnonzero(is_video(media) & verdicts.kept).tolist():
        clip = _clip(media, row, verdicts)
        if clip is None:
            continue
        length, fps = clip[1] - clip[0] + 1, float(media.fps[row])
        count = rule.count(length, fps)
        if rule.least <= count and (rule.repeats or count <= length):
            picks[row] = rule.place(*clip, count)
            seconds[row] = 1 / (count / length * fps)
        else:
            say = f"{count} frames to look at in {length}; at least {rule.least} are needed"
            verdicts.refuse_row(row, Reason.TOO_FEW_FRAMES, say)
    return Picked.of(picks, seconds, len(media))


def pick_middles(media: Media, segments: int, verdicts: Verdicts) -> Picked:
    """The middles of equal stretches of every video; repeats frames of a short clip.

    `get_index` of OpenGVLab/InternVL internvl_chat/README.md, in its order of operations. A clip
    that is reversed or leads out of the video, which the reference does not notice, is refused.
    """
    picks: dict[int, Ints] = {}
    seconds: dict[int, float] = {}
    for row in np.flatnonzero(is_video(media) & verdicts.kept).tolist():
        frames, fps = int(media.frames[row]), float(media.fps[row])
        start, end = float(media.clip_start[row]), float(media.clip_end[row])
        start = -UNBOUNDED_S if isnan(start) else start
        end = UNBOUNDED_S if isnan(end) else end
        beyond = 2.0 * frames + 2
        first = max(0, round(max(-beyond, min(start * fps, beyond))))
        last = min(round(max(-beyond, min(end * fps, beyond))), frames - 1)
        stretch = float(last - first) / segments
        points = first + stretch / 2 + np.round(stretch * np.arange(segments))
        middles = points.astype(np.int64)
        if start > end or middles.min() < 0 or middles.max() >= frames:
            _refuse_clip(media, row, verdicts)
            continue
        picks[row] = middles
        seconds[row] = max(stretch, 0.0) / fps
    return Picked.of(picks, seconds, len(media))


def _clip(media: Media, row: int, verdicts: Verdicts) -> tuple[int, int] | None:
    """First and last frame between the clip bounds, both inclusive; None after refusing a clip.

    `calculate_video_frame_range` of qwen-vl-utils 0.0.14 (QwenLM/Qwen3-VL).
    """
    frames, fps = int(media.frames[row]), float(media.fps[row])
    start, end = float(media.clip_start[row]), float(media.clip_end[row])
    if isnan(start) and isnan(end):
        return 0, frames - 1
    duration = frames / fps
    first = 0 if isnan(start) else ceil(max(0.0, min(start, duration)) * fps)
    last = frames - 1 if isnan(end) else floor(max(0.0, min(end, duration)) * fps)
    last = min(last, frames - 1)
    if first >= last:
        _refuse_clip(media, row, verdicts)
        return None
    return first, last


def _refuse_clip(media: Media, row: int, verdicts: Verdicts) -> None:
    frames, fps = int(media.frames[row]), float(media.fps[row])
    verdicts.refuse_row(
        row,
        Reason.BAD_CLIP,
        f"clip {media.clip_start[row]} s to {media.clip_end[row]} s of a video of "
        f"{frames / fps:.2f} s ({frames} frames at {fps} a second)",
    )


def spread(first: int, last: int, count: int) -> Ints:
    """`count` >= 2 points from first to last inclusive, each rounded half to even.

    0..4 in 4 points is 0, 4/3, 8/3, 4 -> [0, 1, 3, 4].
    """
    steps = count - 1
    whole, rest = np.divmod(first * steps + np.arange(count) * (last - first), steps)
    up = (2 * rest > steps) | ((2 * rest == steps) & (whole % 2 == 1))
    return np.asarray(whole + up, np.int64)


def spread_down(first: int, last: int, count: int) -> Ints:
    """`count` >= 1 points from first to last inclusive, each rounded down."""
    points = np.arange(count, dtype=np.int64) * (last - first) // max(count - 1, 1)
    return np.asarray(first + points, np.int64)


def evenly(most: int) -> FrameRule:
    """At most so many frames, spread over the clip: for families that have no rule of their own."""
    return FrameRule(lambda length, _: min(most, length), 1, spread_down)


def pick_by(
    media: Media, choose: Callable[[int, float], Ints], verdicts: Verdicts
) -> tuple[Picked, Ints]:
    """The frames that `choose` takes of each clip, and the frames [n] that the clip has.

    `choose` is given the frames of the clip and its frames a second, and counts from the first of
    them; it may repeat a frame. The seconds are the mean distance of its frames.
    """
    picks: dict[int, Ints] = {}
    seconds: dict[int, float] = {}
    lengths = np.zeros(len(media), np.int64)
    for row in np.flatnonzero(is_video(media) & verdicts.kept).tolist():
        clip = _clip(media, row, verdicts)
        if clip is None:
            continue
        lengths[row], fps = clip[1] - clip[0] + 1, float(media.fps[row])
        chosen = choose(int(lengths[row]), fps)
        picks[row] = clip[0] + chosen
        distance = (chosen[-1] - chosen[0]) / (len(chosen) - 1) if len(chosen) > 1 else lengths[row]
        seconds[row] = float(distance) / fps
    return Picked.of(picks, seconds, len(media)), lengths


def linspace(length: int, count: int) -> Ints:
    """`count` points from 0 to `length` - 1, rounded down from doubles as numpy does it.

    Where i * ((length - 1) / (count - 1)) falls just short of a whole number, so does the frame;
    `spread_down` is exact.
    """
    return np.linspace(0, length - 1, count, dtype=np.int64)


def clips(media: Media, verdicts: Verdicts) -> dict[int, tuple[int, int]]:
    """Row to the first and last frame, both inclusive, of every video; refuses an empty clip."""
    rows = np.flatnonzero(is_video(media) & verdicts.kept).tolist()
    found = {row: _clip(media, row, verdicts) for row in rows}
    return {row: clip for row, clip in found.items() if clip is not None}
