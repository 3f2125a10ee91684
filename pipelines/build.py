"""A build from top to bottom. Run again, it does only what is missing; with `NoWork` it is the
question whether.

Planning and rendering go round once more when a picture turns out not to decode: the fault is
recorded by content, the sample is dropped with that reason, and the plan is made again without
it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import pyarrow as pa

from pipelines.assemble import assemble_partition
from pipelines.describe import describe
from pipelines.plan import Faults, Partition, plan_partition
from pipelines.publish import already_published, latest, publish
from pipelines.render import addresses, known_faults, render_partition, rendered_index
from pipelines.steps import Block, Workshop
from pipelines.survey import survey_sources
from pipelines.text import text_spec, tokenize_blocks
from schemas.errors import BuildError
from schemas.manifest import Manifest, read_manifest
from schemas.reasons import Reason

R = TypeVar("R")

PARTITION = "0"
"""Everything is one partition, generation 0."""


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


def build(workshop: Workshop, run: RunStage) -> Built:
    """Build and publish. Raises PatchpackError with one line for a person."""
    base = latest(workshop.output)
    blocks = read_sources(workshop, run)
    partition, wanted = _render(workshop, run, blocks)
    shards = run(f"assemble {PARTITION}", lambda: assemble_partition(workshop, partition, wanted))
    manifest = run("ledger", lambda: describe(workshop, [(partition, shards)]))
    if already_published(workshop.output, manifest):
        return Built(read_manifest(workshop.output), new=False)
    workshop.engine.local()
    return Built(run("publish", lambda: publish(workshop.output, manifest, base)), new=True)


def plan(workshop: Workshop, run: RunStage) -> Partition:
    """All that a build decides, without decoding a pixel."""
    blocks = read_sources(workshop, run)
    return run(f"plan {PARTITION}", lambda: plan_partition(workshop, PARTITION, blocks, {}))


def read_sources(workshop: Workshop, run: RunStage) -> list[Block]:
    """Every block, surveyed and tokenized."""
    text_spec(workshop.recipe.text)  # a missing tokenizer is told before any work
    blocks = run("survey", lambda: survey_sources(workshop))
    return run("tokenize", lambda: tokenize_blocks(workshop, blocks))


def plan_again(workshop: Workshop, run: RunStage, blocks: list[Block], faults: Faults) -> Partition:
    """The plan without the media that failed to render. Raises BuildError when too
    much is dropped.
    """
    partition = run(
        f"plan {PARTITION}", lambda: plan_partition(workshop, PARTITION, blocks, faults)
    )
    _check_drops(workshop, partition)
    return partition


def _render(workshop: Workshop, run: RunStage, blocks: list[Block]) -> tuple[Partition, pa.Table]:
    """A plan all of whose payloads exist, and their addresses."""
    faults: dict[str, tuple[str, str]] = {}
    while True:
        partition = plan_again(workshop, run, blocks, faults)
        wanted, found = _render_once(workshop, run, partition)
        if not found:
            return partition, wanted
        faults.update(found)  # each round drops the samples of these media, so the rounds end


def _render_once(
    workshop: Workshop, run: RunStage, partition: Partition
) -> tuple[pa.Table, Faults]:
    """The addresses of the plan's payloads, and the media among them that do not decode."""
    wanted = run(f"address {PARTITION}", lambda: addresses(workshop, partition))
    run(f"render {PARTITION}", lambda: render_partition(workshop, partition, wanted))
    return wanted, known_faults(rendered_index(workshop.store)[0], wanted)


def _check_drops(workshop: Workshop, partition: Partition) -> None:
    sized = workshop.store.read("sized", partition.sized.key)
    reasons = Counter(sized.column("drop").drop_null().to_pylist())
    seen = len(sized) - reasons.pop(Reason.ZERO_WEIGHT.value, 0)  # these were asked for
    limit = workshop.recipe.select.max_drop_ratio
    if reasons.total() > limit * seen:
        worst = ", ".join(
            f"{reason} {count}"
            for reason, count in sorted(reasons.items(), key=lambda x: -x[1])[:5]
        )
        raise BuildError(
            f"{reasons.total()} of {seen} samples would be dropped ({worst}), more than "
            f"select.max_drop_ratio = {limit}; `plan` shows examples"
        )
    if not partition.packs:
        raise BuildError(f"no sample is left to pack: {dict(reasons)}")
