"""select: what of a partition stays, by faults, weights, clauses, and what came before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipelines.decontaminate import benchmarks_spec, listed_rows
from pipelines.duplicates import deduplicated, known
from pipelines.select_recipe import Dedup
from pipelines.signals import Measured, clauses_spec, failed_rows, measure
from pipelines.steps import Block, Workshop
from pipelines.store import Receipt
from schemas.digest import spec_digest
from workers import select as selection

Faults = Mapping[str, tuple[str, str]]
"""Reason and message by sha256 of media that do not decode."""


@dataclass(frozen=True)
class Outside:
    """What a partition's plan takes from outside it: faults of media, ids of earlier partitions."""

    faults: Faults = field(default_factory=dict)
    earlier_ids: tuple[int, ...] = ()
    """Hashes of its own ids that earlier partitions have too; nearly always none."""
    known: tuple[Receipt, ...] = ()
    """What its samples may not repeat: a table of each earlier partition."""


def select_partition(
    workshop: Workshop, blocks: Sequence[Block], outside: Outside, measured: Sequence[Measured]
) -> Receipt:
    """SELECTED of a partition."""
    recipe, store = workshop.recipe, workshop.store
    names = {block.source for block in blocks}
    config = selection.SelectConfig(
        weights={n: s.weight for n, s in workshop.sources.items() if n in names},
        seed=recipe.seed,
        faults=outside.faults,
        earlier_ids=frozenset(outside.earlier_ids),
        held_out=recipe.split.held_out,
        part=recipe.split.part,
    )
    key = spec_digest(
        {
            "stage": "select",
            "version": selection.VERSION,
            "seed": recipe.seed,
            "weights": config.weights,
            "split": [config.held_out, config.part],
            "earlier_ids": sorted(outside.earlier_ids),
            "faults": sorted((sha256, *fault) for sha256, fault in outside.faults.items()),
            "surveyed": [block.surveyed.digest for block in blocks],
            **clauses_spec(recipe.select, names, measured),
            **benchmarks_spec(workshop, measured),
            **_dedup_spec(recipe.select.dedup, measured, outside),
        }
    )
    if done := store.receipt("selected", key):
        return done
    workshop.engine.local()
    config = replace(
        config,
        failed=failed_rows(workshop, blocks, measured),
        contaminated=listed_rows(workshop, blocks, measured),
    )
    tables = store.read_all("surveyed", [block.surveyed.key for block in blocks])
    table = selection.select(tables, config)
    if recipe.select.dedup.is_wanted:
        earlier = [one.key for one in outside.known]
        table = deduplicated(workshop, blocks, measured, table, earlier)
    return store.write("selected", key, table)


def known_after(
    workshop: Workshop, blocks: Sequence[Block], outside: Outside
) -> tuple[Receipt, ...]:
    """What the partition after this one may not repeat: as it is selected before any pixel."""
    if not workshop.recipe.select.dedup.is_wanted:
        return ()
    measured = measure(workshop, blocks)
    selected = select_partition(workshop, blocks, replace(outside, faults={}), measured)
    return (*outside.known, known(workshop, blocks, measured, selected))


def _dedup_spec(dedup: Dedup, measured: Sequence[Measured], outside: Outside) -> dict[str, object]:
    """Nothing where no duplicates are looked for, as before they were."""
    if not dedup.is_wanted:
        return {}
    return {
        "dedup": dedup.model_dump(mode="json"),
        "hashes": [one.digests for one in measured],
        "known": [one.digest for one in outside.known],
    }
