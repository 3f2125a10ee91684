"""The arithmetic of LLaVA-UHD: how many slices, in which grid, and to what a view is resized.

Source: thunlp/LLaVA-UHD llava/slice_process.py (`slice_image_minicpm`, `find_best_resize`,
`get_refine_size`). Doubles, in the reference's order of operations; the logarithm is the C
library's, as in Python's `math`, since numpy's own may differ in the last place and turn a tie.
"""

from dataclasses import dataclass
from math import log

import numpy as np

from schemas.sized import Bools, Floats, Ints, Texts
from workers.policies.layouts import texts_by

MIN_ANY_RES = 512
"""Pixels: the root of the least area of a view of `any_res`."""
MAX_EDGE = 5120
"""Pixels that v3 allows a side."""

_ROWS = 1 << 10
"""More than the rows of any grid."""


@dataclass(frozen=True)
class View:
    """The area side x side that a view aims at, in multiples of `patch`; both in pixels."""

    side: int
    patch: int
    bounded: bool
    """Whether v3's `MAX_EDGE` holds."""


def at_area(width: Floats, height: Floats, view: View, grow: Bools | bool) -> Ints:
    """[n, 2] pixels of the area or, unless it may grow, of the smaller own size."""
    ratio = width / height
    aimed = (width * height > view.side**2) | grow
    height = np.where(aimed, np.trunc(view.side / np.sqrt(ratio)), height)
    return _whole(np.where(aimed, np.trunc(height * ratio), width), height, view)


def at_any_area(width: Floats, height: Floats, view: View) -> Ints:
    """[n, 2] pixels of the own size, between the least area and that of the view."""
    ratio = width / height
    for side, outside in ((view.side, np.greater), (MIN_ANY_RES, np.less)):
        wrong = outside(width * height, side**2)
        height = np.where(wrong, np.trunc(side / np.sqrt(ratio)), height)
        width = np.where(wrong, np.trunc(height * ratio), width)
    longest = np.maximum(width, height)
    scale = MAX_EDGE / np.maximum(longest, 1)
    width = np.where(longest > MAX_EDGE, np.trunc(width * scale), width)
    height = np.where(longest > MAX_EDGE, np.trunc(height * scale), height)
    return _whole(width, height, view)


def slice_views(size_wh: Ints, grid: Ints, view: View) -> Ints:
    """[n, 2] pixels of one slice of each picture that a grid [n, 2] (columns, rows) cuts."""
    shares = np.maximum(np.floor(size_wh / grid) * grid, grid) / grid
    return at_area(shares[:, 0], shares[:, 1], view, True)


def slice_grids(size_wh: Ints, side: int, most: int, more_rows: bool = False) -> Ints:
    """[n, 2] columns and rows of slices; zeros for a picture of one view.

    As many slices as the area holds side x side pixels, rounded up, at most `most`; one less and
    one more are tried too. The grid of least |log(width / height) - log(columns / rows)| wins, the
    first of equals, or (`more_rows`) that with more rows.
    """
    grids = np.zeros_like(size_wh)
    width, height = size_wh.T
    multiple = np.minimum(np.ceil(width * height / (side * side)), most)
    for count in np.unique(multiple[multiple > 1]).astype(int).tolist():
        rows = np.flatnonzero(multiple == count)
        ratio = map(log, (width[rows] / height[rows]).tolist())
        grids[rows] = _nearest(
            np.fromiter(ratio, np.float64, len(rows)), _candidates(count, most), more_rows
        )
    return grids


def separators(grid: Ints) -> Texts:
    """One text after each slice: "," within a row, a line end after it."""
    kinds = grid[:, 0] * _ROWS + grid[:, 1]
    written: dict[int, tuple[str, ...]] = {}
    for kind in np.flatnonzero(np.bincount(kinds)).tolist():
        columns, rows = divmod(kind, _ROWS)
        if kind:
            written[kind] = ("", *([*[","] * (columns - 1), "\n"] * rows), "")
    return texts_by(kinds, written)


def _candidates(count: int, most: int) -> list[tuple[int, int]]:
    counts = [one for one in (count - 1, count, count + 1) if one != 1 and one <= most]
    return [(m, one // m) for one in counts for m in range(1, one + 1) if one % m == 0]


def _nearest(log_ratio: Floats, grids: list[tuple[int, int]], more_rows: bool) -> Ints:
    least, choice = np.full(len(log_ratio), np.inf), np.zeros(len(log_ratio), np.int64)
    tall = np.array([rows for _, rows in grids])
    for index, (columns, rows) in enumerate(grids):
        error = np.abs(log_ratio - log(columns / rows))
        taller = more_rows & (rows > tall[choice])
        choice[(error < least) | ((error == least) & taller)] = index
        np.minimum(least, error, out=least)
    return np.asarray(np.array(grids, np.int64)[choice], np.int64)


def _whole(width: Floats, height: Floats, view: View) -> Ints:
    """[n, 2] rounded down to whole patches, at least one, then to the bound of an edge."""
    sides = np.floor(np.stack([width, height], axis=1) / view.patch) * view.patch
    bound = MAX_EDGE if view.bounded else np.inf
    return np.asarray(np.minimum(np.maximum(sides, view.patch), bound), np.int64)
