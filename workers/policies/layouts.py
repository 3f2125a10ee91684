"""The usual layouts: one run of features, runs of equal length, rows of features with newlines."""

from collections.abc import Sequence

import numpy as np

from schemas.sized import NEWLINE, OTHER, Bools, Ints, Layout, Ragged, Texts

Numbers = Ints | int


def part(shown: Bools, rows: Numbers, columns: Numbers, after: Numbers = 0) -> Ragged:
    """One part (rows, columns, after) in the rows of the mask, none in the others."""
    n = len(shown)
    values = [np.broadcast_to(np.asarray(one, np.int64), (n,)) for one in (rows, columns, after)]
    return Ragged.where(shown, np.stack(values).T)


def plain(shown: Bools, tokens: Numbers) -> Layout:
    """One run of feature tokens in the rows of the mask."""
    return one_run(shown, [part(shown, 1, tokens)])


def one_run(shown: Bools, parts: Sequence[Ragged]) -> Layout:
    """One run that consists of these parts in order."""
    joined = parts[0] if len(parts) == 1 else Ragged.join(parts)
    return Layout(runs=shown.astype(np.int64), parts=joined, texts=Texts.none(len(shown)))


def equal_runs(runs: Ints, tokens: Numbers, texts: Texts | None = None) -> Layout:
    """[n] `runs` runs of `tokens` features each, with texts around them."""
    parts = part(runs > 0, 1, tokens)
    return Layout(runs=runs, parts=parts, texts=texts or Texts.none(len(runs)))


def global_then_tiles(runs: Ints, side: int, grid: Ints) -> Layout:
    """[n] runs of a global view of side x side features, a separator, and all tiles as one map.

    `grid` is [n, 2] columns and rows of tiles as large; every row of features ends in a newline.
    """
    columns, rows = grid.T
    parts = [
        part(runs > 0, side, side, NEWLINE),
        part(runs > 0, 1, 0, OTHER),
        part(runs > 0, rows * side, columns * side, NEWLINE),
    ]
    return Layout(runs=runs, parts=Ragged.join(parts), texts=Texts.none(len(runs)))


def texts_by(keys: Ints, written: dict[int, tuple[str, ...]]) -> Texts:
    """The texts of n media by a number that each has; none where `written` lacks the number."""
    numbers = sorted(written)
    place = np.searchsorted(np.array(numbers, np.int64), keys)
    place = np.minimum(place, max(len(numbers) - 1, 0))
    found = np.array(numbers, np.int64)[place] == keys if numbers else np.zeros(len(keys), np.bool_)
    return Texts(np.where(found, place, -1), tuple(written[number] for number in numbers))
