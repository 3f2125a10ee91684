"""Oryx's arithmetic of areas, and the places that its views take in the sequence.

1. A picture is scaled to the area of `base` squared; with a base of 0, into the areas of `low`
   squared to `high` squared, and not at all between them.
2. Both sides are then rounded down to a multiple of `step`, so a result is at or below its area and
   a thin picture has a side of 0, which cannot be resized. With `pad`, a picture that needs no
   scaling is padded up to the multiple instead.
Sources: Oryx-mllm/Oryx oryx/mm_utils.py (`resize_images`, `resize_video`), doubles in its order of
operations; oryx/model/multimodal_projector/builder.py (`SimpleMlp`).
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from schemas.reasons import Reason
from schemas.sized import NEWLINE, OTHER, Bools, Drawn, Ints, Layout, Ragged, Texts
from workers.policies.drawing import FIRST, Canvas, Thumbnail, center_in, drawn
from workers.policies.verdicts import Verdicts

SMALL, ENLARGED = 32, 64
"""Pixels: a picture with a side below the one is enlarged until it has the other."""
GREY = (127, 127, 127)
"""Of padding."""


@dataclass(frozen=True)
class AreaRule:
    """How large one kind of view becomes; sides of squares in pixels."""

    base: int
    step: int
    low: int = 0
    high: int = 0
    pad: bool = False

    def sizes(self, wh: Ints) -> tuple[Ints, Ints]:
        """[n, 2] the sizes that pictures are resized to, and those of their canvases."""
        sides = wh.astype(np.float64)
        area = sides[:, 0] * sides[:, 1]
        over, under = area > self.high**2, area < self.low**2
        bound = np.where(over, self.high**2, np.where(under, self.low**2, area))
        scale = np.sqrt((self.base**2 if self.base else bound) / area)
        resized = (sides * scale[:, None] / self.step).astype(np.int64) * self.step
        if not self.pad or self.base:
            return resized, resized
        unscaled = ~(over | under)[:, None]
        padded = -(-wh // self.step) * self.step
        return np.where(unscaled, wh, resized), np.where(unscaled, padded, resized)


@dataclass(frozen=True)
class Views:
    """[n, 2] sizes in pixels; (0, 0) of what a medium has not."""

    via: Ints
    """Of a picture before it is resized, if it is enlarged first."""
    resized: Ints
    canvas: Ints
    """Of the high view or the frame."""
    low: Ints
    """Of the low view, which is made from the canvas."""

    @classmethod
    def of(cls, wh: Ints, still: Bools, rules: tuple[AreaRule, AreaRule, AreaRule]) -> Self:
        """Of [n, 2] `wh`, pictures where `still`; the rules are of high views, low ones, frames."""
        high, low, frame = rules
        pictures, shorter = still[:, None], wh.min(axis=1)[:, None]
        small = pictures & (shorter < SMALL)
        start = np.where(small, (wh * (ENLARGED / shorter)).astype(np.int64), wh)
        sizes = zip(high.sizes(start), frame.sizes(wh), strict=True)
        resized, canvas = (np.where(pictures, one, other) for one, other in sizes)
        lows, _ = low.sizes(np.maximum(canvas, 1))
        return cls(start * small, resized, canvas, lows * pictures)

    def refuse_empty(self, still: Bools, verdicts: Verdicts) -> "Views":
        """These views without those of refused media; refuses where a side is rounded down to 0."""
        verdicts.refuse(
            (self.canvas.min(axis=1) < 1) | (still & (self.low.min(axis=1) < 1)),
            Reason.EMPTY_TARGET,
            lambda row: "resizes to {} x {} pixels, and that to {} x {}".format(
                *self.canvas[row], *self.low[row]
            ),
        )
        kept = verdicts.kept[:, None]
        return Views(*(sizes * kept for sizes in (self.via, self.resized, self.canvas, self.low)))

    def drawn(self, pad: bool) -> Drawn:
        """How the pictures are made: the low view is a thumbnail of the canvas, and comes first."""
        canvas = Canvas(wh=self.canvas, xy=center_in(self.canvas, self.resized), rgb=GREY)
        thumbnail = Thumbnail(where=(self.low[:, 0] > 0) * FIRST, wh=self.low, of="canvas")
        pictures = drawn(self.resized, canvas=canvas if pad else None, thumbnail=thumbnail)
        return replace(pictures, via_wh=Ragged.where(self.via[:, 0] > 0, self.via))


def laid_out(low: Ints, high: Ints, time: Ints, pool: Ints) -> tuple[Layout, Ragged]:
    """The places of views, and their grids; `low`, `high`: [n, 2] rows and columns of patches.

    A medium has `time` frames of `high`, or is a picture where it has a low view; `pool` x `pool`
    patches are one token.
    """
    still, shown = low[:, 0] > 0, time > 0
    tokens = (low // pool[:, None], high // pool[:, None])
    parts = [_picture_parts(still, *tokens), _frame_parts(time * ~still, tokens[1])]
    texts = Texts.none(len(time))
    layout = Layout(runs=shown.astype(np.int64), parts=Ragged.join(parts), texts=texts)
    grids = [
        Ragged.where(still, np.insert(low, 0, 1, axis=1)),
        Ragged.where(shown, np.insert(high, 0, time, axis=1)),
    ]
    return layout, Ragged.join(grids)


def _picture_parts(shown: Bools, low: Ints, high: Ints) -> Ragged:
    """Begin, the low rows, separator, the high rows, end."""
    count = int(shown.sum())
    parts = np.tile(np.array([1, 0, OTHER], np.int64), (count, 5, 1))
    parts[:, 1, :2], parts[:, 3, :2] = low[shown], high[shown]
    parts[:, (1, 3), 2] = NEWLINE
    return Ragged.from_counts(parts.reshape(-1, 3), 5 * shown)


def _frame_parts(time: Ints, grid: Ints) -> Ragged:
    """Begin, for each frame its rows and a separator, end."""
    counts = np.where(time > 0, 2 * time + 2, 0)
    row = np.repeat(np.arange(len(time)), counts)
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    parts = np.tile(np.array([1, 0, OTHER], np.int64), (len(row), 1))
    views = (place % 2 == 1) & (place < counts[row] - 1)
    parts[views, :2], parts[views, 2] = grid[row[views]], NEWLINE
    return Ragged.from_counts(parts, counts)
