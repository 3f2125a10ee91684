"""Which frames of a video are looked at: so many, placed by a rule between the bounds of a clip."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from schemas.reasons import Reason
from schemas.sized import Bools, Floats, Ints, Media, Ragged
from workers.policies.clips import clips
from workers.policies.spacing import spread_down
from workers.policies.verdicts import Verdicts


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
        if not picks:
            return cls(Ragged.empty(rows), np.zeros(rows))
        counts, gaps = np.zeros(rows, np.int64), np.zeros(rows)
        for row, indices in picks.items():
            counts[row], gaps[row] = len(indices), seconds[row]
        return cls(Ragged.from_counts(np.concatenate(list(picks.values())), counts), gaps)

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


def evenly(most: int) -> FrameRule:
    """At most so many frames, spread over the clip: for families that have no rule of their own."""
    return FrameRule(lambda length, _: min(most, length), 1, spread_down)


def pick(media: Media, rule: FrameRule, verdicts: Verdicts) -> Picked:
    """The frames of every video; refuses a clip that is empty or shorter than the rule needs."""
    picks: dict[int, Ints] = {}
    seconds: dict[int, float] = {}
    for row, (first, last) in clips(media, verdicts).items():
        length, fps = last - first + 1, float(media.fps[row])
        count = rule.count(length, fps)
        if rule.least <= count and (rule.repeats or count <= length):
            picks[row] = rule.place(first, last, count)
            seconds[row] = 1 / (count / length * fps)
        else:
            say = f"{count} frames to look at in {length}; at least {rule.least} are needed"
            verdicts.refuse_row(row, Reason.TOO_FEW_FRAMES, say)
    return Picked.of(picks, seconds, len(media))


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
    for row, (first, last) in clips(media, verdicts).items():
        length, fps = last - first + 1, float(media.fps[row])
        chosen = choose(length, fps)
        picks[row], lengths[row] = first + chosen, length
        distance = (chosen[-1] - chosen[0]) / (len(chosen) - 1) if len(chosen) > 1 else length
        seconds[row] = float(distance) / fps
    return Picked.of(picks, seconds, len(media)), lengths
