"""A build from top to bottom. Run again, it does only what is missing; with `NoWork` it is the
question whether.

Planning and rendering go round once more when a picture turns out not to decode: the fault is
recorded by content, the sample is dropped with that reason, and the plan is made again without
it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Protocol, TypeVar

import pyarrow as pa

from pipelines.assemble import assemble_partition
from pipelines.caption import caption_blocks
from pipelines.compact import compacted
from pipelines.describe import Made, describe
from pipelines.finding import Found, find_blocks
from pipelines.plan import (
    NO_IDS,
    Partition,
    hashed,
    in_earlier,
    plan_partition,
    sample_ids,
)
from pipelines.publish import already_published, latest, publish
from pipelines.published import by_partition, published_files, read_table
from pipelines.recorded import asked_for, known_faults, recorded
from pipelines.render import addresses, render_partition
from pipelines.select import Faults, Outside, known_after
from pipelines.steps import Block, Workshop
from pipelines.store import Receipt
from pipelines.survey import survey_blocks
from pipelines.text import text_spec, tokenize_blocks
from pipelines.versions import current_version, read_manifest
from schemas.columns import Ints
from schemas.errors import BuildError, RecipeError
from schemas.manifest import Manifest, PartitionEntry
from schemas.reasons import Reason
from workers.benchmark_list import read_benchmark

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


def build(
    workshop: Workshop, run: RunStage, only: Collection[str] = (), merge: Sequence[str] = ()
) -> Built:
    """Build and publish; of partitions `only` these, the others as they are published. With `merge`
    the partitions from its first to its second name become one, and only that is built.

    Raises PatchpackError with one line for a person.
    """
    highest, base = latest(workshop.output), published(workshop)
    if merge:
        if base is None:
            raise RecipeError(f"{workshop.output.url} holds no published data set to compact")
        if len(merge) != 2:
            raise RecipeError(f"merge takes the first and the last partition, not {list(merge)}")
        base, into = compacted(base, *merge)
        only = [into]
    everything = find(workshop, run, base)
    found = chosen(workshop, only, everything, base)
    if only and workshop.recipe.select.dedup.is_wanted:
        found = everything  # what is not built is read, as duplicates of it are not wanted
    parts: dict[str, Made | PartitionEntry] = {}
    for name, blocks, outside in read(workshop, run, found, base if only else None, only):
        partition, wanted = _render(workshop, run, name, (blocks, outside))
        work = partial(assemble_partition, workshop, partition, wanted)
        assembled = run(f"assemble {name}", work)
        parts[name] = Made(partition, assembled)
    if only and base:
        parts = {entry.name: parts.get(entry.name, entry) for entry in base.partitions} | parts
    if not any(part.packs for part in parts.values()):
        raise BuildError("no sample is left to pack; `plan` shows why")
    manifest = run("ledger", lambda: describe(workshop, list(parts.values()), base))
    if already_published(workshop.output, manifest):
        return Built(read_manifest(workshop.output), new=False)
    workshop.engine.local()
    return Built(run("publish", lambda: publish(workshop.output, manifest, highest)), new=True)


def plan(workshop: Workshop, run: RunStage) -> list[Partition]:
    """All that a build decides, without decoding a pixel."""
    found = find(workshop, run, published(workshop))
    return [
        run(f"plan {name}", partial(plan_known, workshop, name, blocks, outside))[0]
        for name, blocks, outside in read(workshop, run, found, may_ask=False)
    ]


def plan_known(
    workshop: Workshop, name: str, blocks: list[Block], outside: Outside
) -> tuple[Partition, pa.Table]:
    """The plan of a partition and its addresses, without the media that are known not to decode."""
    faults = outside.faults
    workshop = workshop.judging(blocks)
    while True:
        known = replace(outside, faults=faults)
        partition = plan_partition(workshop, name, blocks, known)
        wanted = addresses(workshop, partition)
        found = known_faults(workshop.rendered.of(asked_for(wanted)), wanted)
        if not found:
            return recorded(workshop, partition, wanted), wanted
        faults = {**faults, **found}


def published(workshop: Workshop) -> Manifest | None:
    """The published version, if there is one."""
    if current_version(workshop.output) is None:
        return None
    return read_manifest(workshop.output)


def find(workshop: Workshop, run: RunStage, base: Manifest | None) -> dict[str, list[Found]]:
    """The blocks of every partition, before anything of them is read."""
    text_spec(workshop.recipe.text)  # a missing tokenizer is told before any work,
    bool(workshop.take_down)  # and a missing list
    for path in workshop.recipe.select.benchmarks:
        read_benchmark(path)
    known = published_files(workshop.output, base)
    return run("find", lambda: find_blocks(workshop, known))


def read(
    workshop: Workshop,
    run: RunStage,
    found: Mapping[str, list[Found]],
    base: Manifest | None = None,
    only: Collection[str] = (),
    *,
    may_ask: bool = True,
) -> Iterator[tuple[str, list[Block], Outside]]:
    """Every partition in order, or `only` these, surveyed, captioned and tokenized, with what
    earlier ones mean for it: also those of `base`, where only some are taken. No model is asked for
    a caption where none may be.
    """
    ready = run("survey", lambda: survey_blocks(workshop, found))
    if not workshop.recipe.caption:
        flat = list(chain.from_iterable(ready.values()))
        tokenized = iter(run("tokenize", lambda: tokenize_blocks(workshop, flat)))
        ready = {name: [next(tokenized) for _ in blocks] for name, blocks in ready.items()}
    ids = _published_ids(workshop, base, found) if base else dict.fromkeys(ready, NO_IDS)
    if len(ids) > 1:
        ids |= {name: sample_ids(workshop, blocks) for name, blocks in ready.items()}
    again = dict(zip(ids, in_earlier(list(ids.values())), strict=True))
    known: tuple[Receipt, ...] = ()
    for name, blocks in ready.items():
        outside = Outside(earlier_ids=tuple(again[name].tolist()), known=known)
        is_built = not only or name in only
        if workshop.recipe.caption:
            may = may_ask and is_built
            work = partial(caption_blocks, workshop, blocks, outside, may_ask=may)
            told = run(f"caption {name}", work)
            blocks = run(f"tokenize {name}", partial(tokenize_blocks, workshop, told))
        if is_built:
            yield name, blocks, outside
        known = known_after(workshop, blocks, outside)


def _published_ids(workshop: Workshop, base: Manifest, found: Collection[str]) -> dict[str, Ints]:
    """For each published partition in order the hashes of its ids; none for those in `found`."""
    names = [entry.name for entry in base.partitions]
    if len(names) == 1:
        return dict.fromkeys(names, NO_IDS)
    table = read_table(workshop.output, base.ledger.name).select(["partition", "sample_id"])
    rows = by_partition(table)
    others = [name for name in names if name not in found]
    ids = {name: hashed(rows[name].column("sample_id").to_pylist()) for name in others}
    return {name: ids.get(name, NO_IDS) for name in names}


def chosen(
    workshop: Workshop,
    only: Collection[str],
    found: dict[str, list[Found]],
    base: Manifest | None,
) -> dict[str, list[Found]]:
    """Of what was found these partitions of the published version; all where none is named."""
    if not only:
        return found
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
    return {name: blocks for name, blocks in found.items() if name in only}


def _render(
    workshop: Workshop, run: RunStage, name: str, given: tuple[list[Block], Outside]
) -> tuple[Partition, pa.Table]:
    """A plan all of whose payloads exist, and their addresses."""
    blocks, outside = given
    faults: dict[str, tuple[str, str]] = {}
    while True:
        known = replace(outside, faults=faults)
        partition = run(f"plan {name}", partial(plan_partition, workshop, name, blocks, known))
        _check_drops(workshop, partition)
        wanted, found = _render_once(workshop, run, partition)
        if not found:
            return recorded(workshop, partition, wanted), wanted
        # each round drops the samples of these media, so the rounds end
        faults = {**faults, **found}


def _render_once(
    workshop: Workshop, run: RunStage, partition: Partition
) -> tuple[pa.Table, Faults]:
    """The addresses of the plan's payloads, and the media among them that do not decode."""
    name = partition.name
    wanted = run(f"address {name}", lambda: addresses(workshop, partition))
    run(f"render {name}", lambda: render_partition(workshop, partition, wanted))
    return wanted, known_faults(workshop.rendered.of(asked_for(wanted)), wanted)


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
