"""`[select]` of a recipe: clauses over signals, duplicates, and what is taken down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from workers.near_duplicates import MAX_BITS
from workers.signals.clauses import used_signals
from workers.signals.names import NEED_TEXT, Signal


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Dedup(_Section):
    """What counts as a duplicate of an earlier sample, of this partition or one before it."""

    exact: Literal["media", "sample"] | None = None
    """`media`: the same files in the same order; `sample`: the same text too."""
    near_bits: int | None = Field(default=None, ge=0, le=MAX_BITS)
    """Bits of 64 in which perceptual hashes of near duplicates differ at most; all pictures of a
    sample have to be near to earlier ones.
    """

    @property
    def is_wanted(self) -> bool:
        """Whether anything does."""
        return self.exact is not None or self.near_bits is not None


class Select(_Section):
    """What stays."""

    where: tuple[str, ...] = ()
    """Clauses: SQL expressions over signals; a sample for which one is false is dropped."""
    by_source: dict[str, tuple[str, ...]] = {}
    """Clauses in place of `where` for the sources that are named."""
    dedup: Dedup = Dedup()
    take_down: str | None = None
    """A file of sample ids and sha256 of media, one a line: what names them leaves the packs."""

    max_drop_ratio: float = Field(default=0.2, ge=0.0, le=1.0)
    """A build that drops more than this share of its samples stops."""

    def before_captions(self, known: Mapping[str, Signal]) -> Select:
        """What of this needs no text; `known` are the signals of the recipe."""

        def kept(clauses: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(one for one in clauses if not _needs_text(one, known))

        by_source = {name: kept(clauses) for name, clauses in self.by_source.items()}
        changed: dict[str, object] = {"where": kept(self.where), "by_source": by_source}
        if self.dedup.exact == "sample":
            changed["dedup"] = self.dedup.model_copy(update={"exact": None})
        return self.model_copy(update=changed)

    def clauses(self, source: str) -> tuple[str, ...]:
        """Those of a source; a data set of an InternVL meta file has those of its source."""
        return self.by_source.get(source.partition(".")[0], self.where)


def _needs_text(clause: str, known: Mapping[str, Signal]) -> bool:
    return any(known[name].origin in NEED_TEXT for name in used_signals(clause, known))
