"""Shape-adaptive cropping of mPLUG-DocOwl: the grid of crops whose box overlaps the picture most.

A grid scores 100 x its overlap with the picture's shape drawn at the grid's width, plus its overlap
with the picture itself, both as intersection over union; the first best in the list wins.
Source: X-PLUG/mPLUG-DocOwl DocOwl1.5/mplug_docowl/processor.py (`grid_dict`, `anchor_rank`).
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from schemas.sized import Floats, Ints

Anchors = Literal["grid_1", "grid_4", "grid_9", "grid_20", "grid_3x3"]
Singles = npt.NDArray[np.float32]


def _grids(listed: str) -> tuple[tuple[int, int], ...]:
    """(rows, columns) from their names."""
    pairs = (grid.split("x") for grid in listed.split())
    return tuple((int(rows), int(columns)) for rows, columns in pairs)


ANCHORS: dict[Anchors, tuple[tuple[int, int], ...]] = {
    "grid_1": _grids("1x1"),
    "grid_4": _grids("1x1 1x2 2x1 1x3 3x1 2x2 1x4 4x1"),
    "grid_9": _grids(
        "1x1 1x2 2x1 1x3 3x1 2x2 1x4 4x1 1x5 5x1 1x6 6x1 2x3 3x2 1x7 7x1 4x2 2x4 1x8 8x1 3x3 1x9 "
        "9x1"
    ),
    "grid_20": _grids(
        "1x1 1x2 2x1 1x3 3x1 1x4 2x2 4x1 1x5 5x1 1x6 2x3 3x2 6x1 1x7 7x1 1x8 2x4 4x2 8x1 1x9 3x3 "
        "9x1 1x10 2x5 5x2 10x1 1x11 11x1 2x6 3x4 4x3 6x2 2x7 7x2 3x5 5x3 2x8 4x4 8x2 2x9 3x6 6x3 "
        "9x2 2x10 4x5 5x4 10x2"
    ),
    "grid_3x3": _grids("3x3"),
}
"""(rows, columns) in the order of the reference, which decides ties."""

SMALLER: dict[Anchors, Anchors] = {"grid_20": "grid_9", "grid_9": "grid_4", "grid_4": "grid_1"}
"""Each of these holds the next, and beside it only grids of more crops."""


def best_anchor(width: Ints, height: Ints, anchors: tuple[tuple[int, int], ...], side: int) -> Ints:
    """[n] the index of the best (rows, columns) of crops of `side` pixels.

    float32 where torch has it, in its order; the areas are whole numbers, exact in doubles.
    """
    ratio = (height / width).astype(np.float32)
    w, h = width.astype(np.float64), height.astype(np.float64)
    area = w * h
    most = np.full(len(w), -1, np.float32)
    choice = np.zeros(len(w), np.int64)
    for index, (rows, columns) in enumerate(anchors):
        wide, high = float(columns * side), float(rows * side)
        drawn = np.trunc(ratio * np.float32(wide)).astype(np.float64)
        score = _quotient(wide * np.minimum(high, drawn), wide * np.maximum(high, drawn))
        score *= np.float32(100)
        both = np.minimum(wide, w) * np.minimum(high, h)
        score += _quotient(both, wide * high + area - both)
        choice[score > most] = index
        np.maximum(most, score, out=most)
    return choice


def _quotient(both: Floats, either: Floats) -> Singles:
    """Intersection over union."""
    quotient = both.astype(np.float32) / (either.astype(np.float32) + np.float32(1e-5))
    return np.asarray(quotient, np.float32)
