"""What a policy writes around the runs of media, and the special tokens in it.

A special token stands in a text by its name between two noncharacters, which no text of a user
holds (`workers.tokenizer_protocol.RESERVED_TEXT`): a name that somebody typed is ordinary text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from schemas.ragged import Ints

_OPEN, _CLOSE = "\ufdd8", "\ufdd9"


@dataclass(frozen=True)
class Texts:
    """What a policy writes around the runs of n media: ordinary text, and tokens by `token`.

    Medium i has the texts `sets[which[i]]`: one before each run and one after the last; none at
    all where `which` is -1.
    """

    which: Ints
    sets: Sequence[tuple[str, ...]]

    @classmethod
    def none(cls, rows: int) -> Self:
        """No text around any medium."""
        return cls(np.full(rows, -1, np.int64), ())

    def of(self, row: int) -> tuple[str, ...]:
        """The texts of one medium."""
        return () if self.which[row] < 0 else self.sets[self.which[row]]


def token(name: str) -> str:
    """A special token, as it stands in a text."""
    return f"{_OPEN}{name}{_CLOSE}"


def written(text: str) -> str:
    """The text with its special tokens by their names alone."""
    return text.replace(_OPEN, "").replace(_CLOSE, "")


def specials(text: str) -> int:
    """How many special tokens stand in the text."""
    return text.count(_OPEN)


def split_at_tokens(text: str) -> list[str]:
    """Ordinary text and names of special tokens by turns, text first and last; it may be empty."""
    return re.split(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}", text)
