"""Texts that a policy writes around runs, such as InternVL's `Frame1: `, as token ids.

Few sets of texts serve many items (`schemas.sized.Texts`): each text is encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from schemas.columns import Ints
from schemas.sized import Texts
from schemas.texts import split_at_tokens

Ids = tuple[int, ...]


class RunText:
    """The sets of texts met so far, encoded; set 0 has no text at all."""

    def __init__(
        self, encode: Callable[[str], Sequence[int]], special: Callable[[str], int]
    ) -> None:
        self.sets: list[tuple[Ids, ...]] = [()]
        self._encode = encode
        self._special = special
        self._known: dict[str, Ids] = {}
        self._number: dict[tuple[str, ...], int] = {}

    def add(self, texts: Texts) -> Ints:
        """[n] the number of the set of each item."""
        numbers = [self._add(one) for one in texts.sets]
        return np.array([*numbers, 0], np.int64)[texts.which]

    def counts(self, numbers: Ints) -> Ints:
        """[n] tokens in these sets."""
        each = [sum(map(len, texts)) for texts in self.sets]
        return np.array(each, np.int64)[numbers]

    def texts(self, number: int, runs: int) -> Sequence[Ids]:
        """The runs + 1 lists of ids of one item."""
        return self.sets[number] or ((),) * (runs + 1)

    def _add(self, texts: tuple[str, ...]) -> int:
        if texts not in self._number:
            self._number[texts] = len(self.sets)
            self.sets.append(tuple(map(self._ids, texts)))
        return self._number[texts]

    def _ids(self, text: str) -> Ids:
        if text not in self._known:
            self._known[text] = tuple(self._encoded(text))
        return self._known[text]

    def _encoded(self, text: str) -> Iterator[int]:
        """The ids of what stands between special tokens, and theirs."""
        for number, piece in enumerate(split_at_tokens(text)):
            if number % 2:
                yield self._special(piece)
            elif piece:
                yield from self._encode(piece)
