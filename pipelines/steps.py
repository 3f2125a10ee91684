"""What every stage is handed: the recipe, the cache, the engine, and somebody to
tell of progress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipelines.engine import Engine
from pipelines.recipe import Recipe
from pipelines.store import Receipt, Store

Spec = TypeVar("Spec")
Result = TypeVar("Result")

Progress = Callable[[str, int, int], None]
"""Told the stage, how much is done, and of how much."""


def silent(stage: str, done: int, total: int) -> None:
    """Progress for nobody."""


@dataclass(frozen=True)
class Workshop:
    """One build's surroundings."""

    recipe: Recipe
    engine: Engine
    progress: Progress = silent

    @property
    def store(self) -> Store:
        """The cache of tables and payloads."""
        assert self.recipe.output.cache is not None  # set when the recipe is loaded
        return Store(self.recipe.output.cache)

    @property
    def output(self) -> Path:
        """The folder of the data set."""
        return self.recipe.output.path

    def run(
        self, stage: str, function: Callable[[Spec], Result], specs: Sequence[Spec]
    ) -> Iterator[Result]:
        """The engine's results, with progress told."""
        self.progress(stage, 0, len(specs))
        for done, result in enumerate(self.engine.map(function, specs), 1):
            self.progress(stage, done, len(specs))
            yield result


@dataclass(frozen=True)
class Block:
    """One block of one source, as far as it has been taken."""

    source: str
    surveyed: Receipt
    tokenized: Receipt | None = None
