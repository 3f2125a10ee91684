"""`[select]` of a recipe: clauses over signals, duplicates, and what is taken down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from workers.near_duplicates import MAX_BITS
from workers.near_texts import MIN_LIKENESS
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

    text: float | None = Field(default=None, ge=MIN_LIKENESS, le=1.0)
    """Estimated Jaccard similarity from which on texts are near duplicates; of samples without
    media.
    """

    @property
    def is_wanted(self) -> bool:
        """Whether anything does."""
        return any(one is not None for one in (self.exact, self.near_bits, self.text))

    def before_captions(self) -> Dedup:
        """What of this needs no text."""
        exact = None if self.exact == "sample" else self.exact
        return self.model_copy(update={"exact": exact, "text": None})


class Select(_Section):
    """What stays."""

    where: tuple[str, ...] = ()
    """Clauses: SQL expressions over signals; a sample for which one is false is dropped."""
    by_source: dict[str, tuple[str, ...]] = {}
    """Clauses in place of `where` for the sources that are named."""
    dedup: Dedup = Dedup()
    benchmarks: tuple[str, ...] = ()
    """Lists made by `python -m flows benchmark`: what is on one is dropped."""
    benchmark_bits: int = Field(default=4, ge=0, le=MAX_BITS)
    """Bits of 64 in which a picture differs at most from one that is on a list."""
    take_down: str | None = None
    """A file of sample ids and sha256 of media, one a line: what names them leaves the packs."""

    max_drop_ratio: float = Field(default=0.2, ge=0.0, le=1.0)
    """A build that drops more than this share of its samples stops."""

    def before_captions(self, known: Mapping[str, Signal]) -> Select:
        """What of this needs no text; `known` are the signals of the recipe."""

        def kept(clauses: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(one for one in clauses if not _needs_text(one, known))

        by_source = {name: kept(clauses) for name, clauses in self.by_source.items()}
        dedup = self.dedup.before_captions()
        changed = {"where": kept(self.where), "by_source": by_source, "dedup": dedup}
        return self.model_copy(update=changed)

    def clauses(self, source: str) -> tuple[str, ...]:
        """Those of a source; a data set of an InternVL meta file has those of its source."""
        return self.by_source.get(source.partition(".")[0], self.where)


def _needs_text(clause: str, known: Mapping[str, Signal]) -> bool:
    return any(known[name].origin in NEED_TEXT for name in used_signals(clause, known))
