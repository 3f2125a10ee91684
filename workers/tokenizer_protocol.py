"""What the text stages ask of a tokenizer, and what they give it.

A document is encoded whole, with BREAK standing for each special token and each media item. So what
is merged with what is exactly what the tokenizer does with the rendered text, yet nothing that a
user typed can become a special token: none is ever searched for in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from workers.chat_template import ChatTemplate

BREAK = "\ufdd0"
"""A Unicode noncharacter: reserved for use inside one program, so no honest text holds it."""
BREAK_ID = -1


class Document(NamedTuple):
    """Text with BREAK marks, and the spans of characters (start, end) that are learned, rising."""

    text: str
    learned: Sequence[tuple[int, int]]


class Encoded(NamedTuple):
    """Ids, BREAK_ID for each BREAK; learned spans of ids; a special token that the text gave.

    A token is learned when it holds a learned character (as transformers' assistant masks have it).
    """

    ids: npt.NDArray[np.int32]
    learned: list[tuple[int, int]]
    forged: str | None = None


class Tokenizer(Protocol):
    """What the text stages need; `encode` never gives a special id, whatever the text says."""

    @property
    def digest(self) -> str:
        """Names the content of the tokenizer, wherever it lies."""

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""

    @property
    def end_of_text(self) -> int:
        """The id that ends a document."""

    def encode(self, text: str) -> list[int]:
        """The ids of plain text."""

    def encode_documents(self, documents: Sequence[Document]) -> list[Encoded]:
        """All documents of a block at once, each as a whole."""

    def special(self, name: str, /) -> int:
        """The id of a special token; RecipeError if there is none."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens by name."""

    def chat_template(self) -> ChatTemplate:
        """The template that comes with the tokenizer; RecipeError if there is none."""


RESERVED_TEXT = "[\ufdd0-\ufdef]"
_RESERVED_TEXT = re.compile(RESERVED_TEXT)


def reserved_character(texts: Iterable[str]) -> str | None:
    """The first of U+FDD0 … U+FDEF in the texts, which the text stages keep for themselves."""
    for text in texts:
        if not text.isascii() and (found := _RESERVED_TEXT.search(text)):
            return f"U+{ord(found[0]):04X}"
    return None
