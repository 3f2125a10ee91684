"""The ids of a family's vision tokens, in a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from workers.text_config import FAMILIES, Family, MarkNames


class Marks(NamedTuple):
    """Ids around one run of features; None where the family writes no such token."""

    start: int | None
    pad: int
    end: int | None

    @property
    def overhead(self) -> int:
        """Tokens that a run has beside its features."""
        return (self.start is not None) + (self.end is not None)


class _Names(Protocol):
    def special(self, name: str, /) -> int: ...


@dataclass(frozen=True)
class VisionIds:
    """The vision token ids of a family; posed views are written like images."""

    image: Marks
    video: Marks

    @classmethod
    def of(cls, tokenizer: _Names, family: Family) -> Self:
        """Raises RecipeError when the tokenizer lacks one of the family's tokens."""

        def ids(names: MarkNames) -> Marks:
            start = None if names.start is None else tokenizer.special(names.start)
            end = None if names.end is None else tokenizer.special(names.end)
            return Marks(start, tokenizer.special(names.pad), end)

        names = FAMILIES[family]
        return cls(ids(names.image), ids(names.video))

    @classmethod
    def without_media(cls) -> Self:
        """For samples of text alone, whose tokenizer may have no vision tokens."""
        return cls(Marks(None, 0, None), Marks(None, 0, None))

    def marks(self, kind: str) -> Marks:
        """The ids for an item of this kind (image, view or video)."""
        return self.video if kind == "video" else self.image
