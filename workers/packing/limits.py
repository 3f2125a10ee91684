"""What a pack may hold: the same bounds for the samples that size lets through and for packs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.columns import Ints
from schemas.ragged import Bools


@dataclass(frozen=True)
class Limits:
    """Most of each in one pack; None is no bound."""

    tokens: int
    patches: int | None = None
    attention: int | None = None
    bytes: int | None = None
    images: int | None = None
    """Pictures, views and videos."""
    samples: int | None = None
    one_kind: bool = False
    """No pack has pictures and videos."""

    @property
    def capacities(self) -> dict[str, int]:
        """The bounds of what adds up over the samples of a pack, by the name of the cost."""
        bounds = {
            "tokens": self.tokens,
            "patches": self.patches,
            "attention": self.attention,
            "bytes": self.bytes,
            "images": self.images,
        }
        return {name: bound for name, bound in bounds.items() if bound is not None}

    def exceeded(self, costs: Mapping[str, Ints]) -> dict[str, Bools]:
        """For each bound which samples are over it alone, as a mask."""
        return {name: costs[name] > bound for name, bound in self.capacities.items()}
