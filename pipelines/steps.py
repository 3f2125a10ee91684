"""What every stage is handed: the recipe, its sources, the cache, the engine, and somebody to
tell of progress.
"""

from __future__ import annotations

import getpass
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pipelines.engine import ActorPool, Engine
from pipelines.partitions import SourceFile
from pipelines.recipe import Output, Recipe
from pipelines.rendered import Rendered
from pipelines.select_recipe import Select
from pipelines.sources import OpenSource, open_sources, rules_of
from pipelines.store import Receipt, Redo, Scratch, Store
from pipelines.take_down_list import TakeDownList, read_list
from workers.match import Rule
from workers.media_files import StandIns
from workers.storage.folder import Folder, folder_of
from workers.storage.snapshot import forget, snapshot

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
    redo: Redo = field(default_factory=Redo)
    """Folders of the cache whose outputs are made again; `assembled` stands for shards."""

    @cached_property
    def store(self) -> Store:
        """The cache of tables and payloads."""
        assert self.recipe.output.cache is not None  # set when the recipe is loaded
        scratch = scratch_of(self.recipe.output)
        return Store(snapshot(folder_of(self.recipe.output.cache)), scratch, self.redo)

    @cached_property
    def rendered(self) -> Rendered:
        """The payloads in the cache."""
        return Rendered(self.store)

    @cached_property
    def output(self) -> Folder:
        """The folder of the data set."""
        return snapshot(folder_of(self.recipe.output.path))

    @cached_property
    def sources(self) -> dict[str, OpenSource]:
        """The sources by name, in the order of the recipe."""
        return {source.name: source for source in open_sources(self.recipe)}

    @cached_property
    def rules(self) -> list[Rule]:
        """The policies, each with what it matches."""
        return rules_of(self.recipe, list(self.sources.values()))

    @cached_property
    def take_down(self) -> TakeDownList:
        """What is to be taken down, read once."""
        return read_list(self.recipe.select.take_down)

    def with_select(self, select: Select) -> Workshop:
        """The same surroundings for a recipe that selects otherwise."""
        other = self.with_recipe(self.recipe.model_copy(update={"select": select}))
        vars(other)["rules"] = self.rules
        return other

    def with_recipe(self, recipe: Recipe) -> Workshop:
        """The same surroundings for a recipe with the same sources and output."""
        other = replace(self, recipe=recipe)
        for name in ("store", "rendered", "output", "sources"):
            vars(other)[name] = getattr(self, name)
        return other

    def judging(self, blocks: Sequence[Block]) -> Workshop:
        """The same, or where answers of models are missing one that judges no text by clauses."""
        if not any(block.unanswered for block in blocks):
            return self
        return self.with_select(self.recipe.select.before_captions(self.recipe.signals))

    def run(
        self, stage: str, function: Callable[[Spec], Result], specs: Sequence[Spec]
    ) -> Iterator[Result]:
        """The engine's results, with progress told."""
        return self._told(stage, self.engine.map(function, specs), len(specs))

    def run_actors(
        self,
        stage: str,
        make: Callable[[int], Callable[[Spec], Result]],
        specs: Sequence[Spec],
        pool: ActorPool,
    ) -> Iterator[Result]:
        """The same by actors, each of which calls `make` once with the CPUs that it has."""
        return self._told(stage, self.engine.map_actors(make, specs, pool), len(specs))

    def _told(self, stage: str, results: Iterator[Result], count: int) -> Iterator[Result]:
        self.progress(stage, 0, count)
        written = ""  # where in the cache, as far as is known: anywhere
        try:
            for done, result in enumerate(results, 1):
                self.progress(stage, done, count)
                yield result
                written = result.stage if isinstance(result, Receipt) else ""
        finally:
            if count:
                forget(self.store.folder, written)
                forget(self.output)


def scratch_of(output: Output) -> Scratch:
    """Local disk for what is remote."""
    folder = Path(tempfile.gettempdir()) / f"patchpack-{getpass.getuser()}"
    if output.scratch:
        folder = Path(output.scratch)
    return Scratch(folder.absolute(), int(output.scratch_gb * 1e9))


@dataclass(frozen=True)
class StandIn:
    """What is read in place of a file of a source: its unpacked bytes, in the cache."""

    path: str  # as items name it
    cached: str  # below the cache


@dataclass(frozen=True)
class Block:
    """One block of one source, as far as it has been taken."""

    source: str
    files: tuple[SourceFile, ...]
    """The source's file that it is of; the files of a block of a folder."""
    surveyed: Receipt
    """With the texts of captions, where there are any."""
    tokenized: Receipt | None = None
    stand_in: StandIn | None = None
    before_caption: Receipt | None = None
    """SURVEYED as the survey found it, where captions have changed it."""
    captions: tuple[Receipt, ...] = ()
    """ASKED, CAPTIONED and SURVEYED of each pass that asked about it."""
    unanswered: int = 0
    """Requests that a plan has found no answer to."""

    @property
    def as_found(self) -> Receipt:
        """SURVEYED as the survey found it."""
        return self.before_caption or self.surveyed

    def stand_ins(self, store: Store) -> StandIns:
        """As the readers of media take it."""
        return stand_ins(self.stand_in, store)


def stand_ins(one: StandIn | None, store: Store) -> StandIns:
    """A stand-in as the readers of media take it."""
    return {one.path: (store.folder, one.cached)} if one else {}
