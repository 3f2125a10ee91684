"""A build from top to bottom. Run again, it does only what is missing; with `NoWork` it is the
question whether.

Planning and rendering go round once more when a picture turns out not to decode: the fault is
recorded by content, the sample is dropped with that reason, and the plan is made again without
it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Protocol, TypeVar

import numpy as np
import pyarrow as pa

from pipelines.assemble import assemble_partition
from pipelines.describe import Made, describe, published_files
from pipelines.finding import Found, find_blocks
from pipelines.plan import Faults, Outside, Partition, plan_partition, sample_ids
from pipelines.publish import already_published, latest, publish
from pipelines.render import addresses, known_faults, render_partition, rendered_index
from pipelines.steps import Block, Workshop
from pipelines.survey import survey_blocks
from pipelines.text import text_spec, tokenize_blocks
from pipelines.versions import current_version, read_manifest
from schemas.errors import BuildError, RecipeError
from schemas.manifest import Manifest, PartitionEntry
from schemas.reasons import Reason

R = TypeVar("R")

ASKED_FOR = (Reason.ZERO_WEIGHT, Reason.HELD_OUT)
"""Drops that the recipe wants, so that no limit counts them."""


class RunStage(Protocol):
    """Runs a stage under a name; the flow's version makes it a Prefect task."""

    def __call__(self, name: str, stage: Callable[[], R]) -> R:
        """What the stage returns."""
        ...


def call(name: str, stage: Callable[[], R]) -> R:
    """Runs a stage as it is."""
    del name
    return stage()


@dataclass(frozen=True)
class Built:
    """The published version, and whether this build made it."""

    manifest: Manifest
    new: bool


def build(workshop: Workshop, run: RunStage, only: Collection[str] = ()) -> Built:
    """Build and publish; of partitions `only` these, the others as they are published.

    Raises PatchpackError with one line for a person.
    """
    highest, base = latest(workshop.output), published(workshop)
    found = find(workshop, run, base)
    if only:
        _check_backfill(workshop, only, found, base)
        found = {name: blocks for name, blocks in found.items() if name in only}
    parts: dict[str, Made | PartitionEntry] = {}
    for name, blocks, outside in _read(workshop, run, found):
        partition, wanted = _render(workshop, run, name, (blocks, outside))
        work = partial(assemble_partition, workshop, partition, wanted)
        assembled = run(f"assemble {name}", work)
        parts[name] = Made(partition, assembled)
    if only and base:
        parts = {entry.name: parts.get(entry.name, entry) for entry in base.partitions} | parts
    manifest = run("ledger", lambda: describe(workshop, list(parts.values()), base))
    if already_published(workshop.output, manifest):
        return Built(read_manifest(workshop.output), new=False)
    workshop.engine.local()
    return Built(run("publish", lambda: publish(workshop.output, manifest, highest)), new=True)


def plan(workshop: Workshop, run: RunStage) -> list[Partition]:
    """All that a build decides, without decoding a pixel."""
    found = find(workshop, run, published(workshop))
    return [
        run(f"plan {name}", partial(plan_partition, workshop, name, blocks, outside))
        for name, blocks, outside in _read(workshop, run, found)
    ]


def published(workshop: Workshop) -> Manifest | None:
    """The published version, if there is one."""
    if current_version(workshop.output) is None:
        return None
    return read_manifest(workshop.output)


def find(workshop: Workshop, run: RunStage, base: Manifest | None) -> dict[str, list[Found]]:
    """The blocks of every partition, before anything of them is read."""
    text_spec(workshop.recipe.text)  # a missing tokenizer is told before any work
    known = published_files(workshop.output, base)
    return run("find", lambda: find_blocks(workshop, known))


def _read(
    workshop: Workshop, run: RunStage, found: Mapping[str, list[Found]]
) -> Iterator[tuple[str, list[Block], Outside]]:
    """Every partition in order, surveyed and tokenized, with what earlier ones mean for it."""
    surveyed = run("survey", lambda: survey_blocks(workshop, found))
    flat = list(chain.from_iterable(surveyed.values()))
    tokenized = iter(run("tokenize", lambda: tokenize_blocks(workshop, flat)))
    earlier = np.zeros(0, np.uint64)
    for name, blocks in surveyed.items():
        ready = [next(tokenized) for _ in blocks]
        if len(surveyed) == 1:
            yield name, ready, Outside()
            return
        ids = sample_ids(workshop, ready)
        twice = np.intersect1d(ids, earlier, assume_unique=True)
        yield name, ready, Outside(earlier_ids=tuple(twice.tolist()))
        earlier = np.union1d(earlier, ids)


def _check_backfill(
    workshop: Workshop, only: Collection[str], found: Collection[str], base: Manifest | None
) -> None:
    if base is None:
        raise RecipeError(f"{workshop.output.url} holds no published data set to backfill")
    known = [entry.name for entry in base.partitions]
    for name in only:
        if name not in known or name not in found:
            raise RecipeError(f"partition {name!r}: there are {', '.join(known)}")
    pack = workshop.recipe.pack
    if (base.lanes, base.capacity) != (pack.lanes, pack.max_tokens):
        stated = f"{base.lanes} lanes and packs of {base.capacity} tokens"
        raise RecipeError(f"pack: the data set has {stated}; only a whole build changes them")


def _render(
    workshop: Workshop, run: RunStage, name: str, given: tuple[list[Block], Outside]
) -> tuple[Partition, pa.Table]:
    """A plan all of whose payloads exist, and their addresses."""
    blocks, outside = given
    faults: dict[str, tuple[str, str]] = {}
    while True:
        known = Outside(faults, outside.earlier_ids)
        partition = run(f"plan {name}", partial(plan_partition, workshop, name, blocks, known))
        _check_drops(workshop, partition)
        wanted, found = _render_once(workshop, run, partition)
        if not found:
            return partition, wanted
        # each round drops the samples of these media, so the rounds end
        faults = {**faults, **found}


def _render_once(
    workshop: Workshop, run: RunStage, partition: Partition
) -> tuple[pa.Table, Faults]:
    """The addresses of the plan's payloads, and the media among them that do not decode."""
    name = partition.name
    wanted = run(f"address {name}", lambda: addresses(workshop, partition))
    run(f"render {name}", lambda: render_partition(workshop, partition, wanted))
    return wanted, known_faults(rendered_index(workshop.store)[0], wanted)


def _check_drops(workshop: Workshop, partition: Partition) -> None:
    sized = workshop.store.read("sized", partition.sized.key)
    reasons = Counter(sized.column("drop").drop_null().to_pylist())
    seen = len(sized) - sum(reasons.pop(reason.value, 0) for reason in ASKED_FOR)
    limit = workshop.recipe.select.max_drop_ratio
    if reasons.total() > limit * seen:
        worst = ", ".join(
            f"{reason} {count}"
            for reason, count in sorted(reasons.items(), key=lambda x: -x[1])[:5]
        )
        raise BuildError(
            f"partition {partition.name}: {reasons.total()} of {seen} samples would be dropped "
            f"({worst}), more than select.max_drop_ratio = {limit}; `plan` shows examples"
        )
    if not partition.packs and seen:
        raise BuildError(f"partition {partition.name}: no sample is left to pack: {dict(reasons)}")
