"""Runs of words as numbers of 64 bits: what of a text is compared with texts of benchmarks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from workers.signals.words import words_of

VERSION = 1

MIN_WORDS = 5
"""A shorter text says nothing: it stands in many."""
_FACTOR = 0x9E3779B97F4A7C15

Runs = npt.NDArray[np.uint64]


def runs_of(text: str, length: int) -> Runs:
    """Of each run of so many words, in order; nothing where there are fewer."""
    return _runs(words_of(text), length)


def listed_runs(text: str, length: int) -> tuple[int, Runs]:
    """The runs by which a text of a benchmark is found, and how long they are: all of a short text
    is one; nothing of a text of fewer than `MIN_WORDS`.
    """
    words = words_of(text)
    if len(words) < MIN_WORDS:
        return 0, np.zeros(0, np.uint64)
    length = min(length, len(words))
    return length, np.unique(_runs(words, length))


def _runs(words: Sequence[str], length: int) -> Runs:
    count = len(words) - length + 1
    if count < 1:
        return np.zeros(0, np.uint64)
    hashes = np.array([_hash(word) for word in words], np.uint64)
    found = np.zeros(count, np.uint64)
    for place in range(length):
        found = found * np.uint64(_FACTOR) + hashes[place : place + count]
    return found


@lru_cache(maxsize=1 << 18)
def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
