"""Lists of varying length as columns: the values of all rows one after another, and row offsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_BLOCK = 1 << 12
"""Rows that are taken at once, so that their indexes stay in the cache."""


@dataclass(frozen=True)
class Ragged:
    """Lists of varying length: row i is `values[offsets[i]:offsets[i + 1]]`, [k] or [k, d]."""

    values: Ints
    offsets: Ints

    def __getitem__(self, row: int) -> Ints:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def counts(self) -> Ints:
        """Length of each row's list."""
        return np.diff(self.offsets)

    @classmethod
    def from_counts(cls, values: Ints, counts: Ints) -> Self:
        """Rows of these lengths cut from `values` one after another."""
        return cls(values, _offsets(counts))

    @classmethod
    def empty(cls, rows: int, width: int | None = None) -> Self:
        """`rows` empty lists; of tuples of `width` numbers if given."""
        shape = (0,) if width is None else (0, width)
        return cls(np.zeros(shape, np.int64), np.broadcast_to(np.int64(0), rows + 1))

    @classmethod
    def where(cls, rows: Bools, values: Ints) -> Self:
        """One value, or tuple [n, d] of them, in the rows of the mask; none in the others."""
        if rows.all():
            return cls(values, np.arange(len(rows) + 1))
        return cls.from_counts(values[rows], rows.astype(np.int64))

    @classmethod
    def join(cls, parts: Sequence[Ragged]) -> Self:
        """Row by row the lists of all parts one after another."""
        counts = np.stack([part.counts for part in parts])
        joined = cls.from_counts(np.empty((0,), np.int64), counts.sum(axis=0))
        shape = (int(joined.offsets[-1]), *parts[0].values.shape[1:])
        values = np.empty(shape, np.int64)
        starts = joined.offsets[:-1].copy()
        for part, count in zip(parts, counts, strict=True):
            place = np.repeat(starts - part.offsets[:-1], count) + np.arange(len(part.values))
            values[place] = part.values
            starts += count
        return cls(values, joined.offsets)

    def take(self, rows: Ints) -> Ragged:
        """The lists at these positions, in this order."""
        counts = self.counts[rows]
        offsets = _offsets(counts)
        moved = self.offsets[:-1][rows] - offsets[:-1]
        values = np.empty((int(offsets[-1]), *self.values.shape[1:]), np.int64)
        for start in range(0, len(rows), _BLOCK):
            some = slice(start, start + _BLOCK)
            first, last = offsets[start], offsets[start : start + _BLOCK + 1][-1]
            index = np.arange(first, last) + np.repeat(moved[some], counts[some])
            values[first:last] = self.values.take(index, axis=0)
        return Ragged(values, offsets)

    def sums(self, of: Ints) -> Ints:
        """[n] the sum over each row of `of`, which has one number a value."""
        if len(of) == len(self) == self.offsets[-1] and (self.counts == 1).all():
            return of
        return np.diff(_offsets(of)[self.offsets])


def _offsets(counts: Ints) -> Ints:
    """0, then the running sum."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets
