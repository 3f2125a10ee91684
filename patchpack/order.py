"""The canonical order of a data set: which pack comes when, the same for every number of ranks.

Packs lie in rows of `lanes`; an epoch is a seeded permutation of stripe sets and, in windows of
WINDOW_ROWS, of rows, with one XOR mask on lane numbers.
1. The unit is a group: `bundle` rows that follow one another, which one rank reads lane by lane.
2. Groups are numbered as they come in the epoch; `EpochOrder.places` says where a group lies.
3. In a group, place p is lane p ^ mask. Every aligned run of W places is an aligned run of W lanes,
   and places of one residue mod W are lanes of one residue, for each W that divides `lanes`.

Everything follows from sha256 and Philox4x64-10 (Salmon et al. 2011) by integers alone: NumPy's
own choice of permutations may change between its versions, the words of Philox may not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from numpy.random import Philox

Ints = npt.NDArray[np.int64]
Key = tuple[int, int]

VERSION = 1
"""Raised when the same seed gives another order: a state tells which one it was taken from."""

WINDOW_ROWS = 64
"""Rows that change places with one another: what a reader has open at once, 64 x lanes packs."""

_STRIPES, _ROWS, _MASK = range(3)


def key_of(*parts: str | int) -> Key:
    """The key of a stream of draws that depends on all parts."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")


def words(key: Key, stream: tuple[int, int], count: int) -> npt.NDArray[np.uint64]:
    """[count] 64-bit words; streams of one key are independent of each other."""
    counter = np.array([0, 0, *stream], np.uint64)
    generator = Philox(key=np.array(key, np.uint64), counter=counter)
    return np.asarray(generator.random_raw(count), np.uint64)


def distinct(values: Ints) -> Ints:
    """The different values, ascending.

    `np.unique` imports numpy.ma when it is called first, which takes longer than the first pack.
    """
    ordered = np.sort(values)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def permutation(key: Key, stream: tuple[int, int], size: int) -> Ints:
    """The numbers below `size` in the order of words drawn for them."""
    return np.argsort(words(key, stream, size), kind="stable").astype(np.int64)


@dataclass(frozen=True, eq=False)
class EpochOrder:
    """One epoch of one data set."""

    key: Key
    groups: Ints
    """[stripe sets] groups in each, as they lie in the data set."""
    window: int
    """Groups that are permuted together; 1 leaves them, and the stripe sets, as they lie."""
    lanes: int

    @cached_property
    def mask(self) -> int:
        """Place p of a group is lane p ^ mask."""
        if not self.shuffled:
            return 0
        return int(words(self.key, (_MASK, 0), 1)[0]) & (self.lanes - 1)

    @property
    def shuffled(self) -> bool:
        """Whether it is any other order than that of the data set."""
        return self.window > 1

    @cached_property
    def stripes(self) -> Ints:
        """The stripe sets in the order in which they come."""
        if not self.shuffled:
            return np.arange(len(self.groups))
        return permutation(self.key, (_STRIPES, 0), len(self.groups))

    @cached_property
    def _ends(self) -> Ints:
        return np.cumsum(self.groups[self.stripes])

    def places(self, numbers: Ints) -> tuple[Ints, Ints]:
        """Stripe set, and group inside it, of the groups with these numbers in the epoch."""
        turn = np.searchsorted(self._ends, numbers, side="right")
        stripe = self.stripes[turn]
        group = numbers - (self._ends[turn] - self.groups[stripe])
        if not self.shuffled:
            return stripe, group
        window = group // self.window
        found = np.empty_like(group)
        both = (stripe << 32) + window
        for one in distinct(both).tolist():
            chosen = np.flatnonzero(both == one)
            first = (one & 0xFFFFFFFF) * self.window
            order = self._rows(one >> 32, one & 0xFFFFFFFF)
            found[chosen] = first + order[group[chosen] - first]
        return stripe, found

    def _rows(self, stripe: int, window: int) -> Ints:
        size = min(self.window, int(self.groups[stripe]) - window * self.window)
        return _window_of(self.key, stripe, window, size)


@lru_cache(maxsize=64)
def _window_of(key: Key, stripe: int, window: int, size: int) -> Ints:
    return permutation(key, (_ROWS, (stripe << 32) + window), size)


def epoch_order(
    digest: str, seed: int, epoch: int, groups: Ints, lanes: int, *, bundle: int, shuffle: bool
) -> EpochOrder:
    """The order of an epoch; `digest` is that of the ordered digests of the data set's shards."""
    key = key_of("order", VERSION, digest, seed, epoch)
    # at least 2: a window of one group would be no shuffle, and is how the order as it lies is told
    window = max(2, WINDOW_ROWS // bundle) if shuffle else 1
    return EpochOrder(key, groups, window, lanes)
