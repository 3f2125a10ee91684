"""The manifest and the ledger of a build, from its plan and its shards."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from importlib.metadata import version as library

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import patchpack
from patchpack.layout import FORMAT, pack_key, shard_name
from pipelines.assemble import partition_digest, recipe_digest, rows_per_stripe
from pipelines.plan import Partition, pack_costs, policy_spec
from pipelines.publish import ledger_path
from pipelines.recipe import Recipe
from pipelines.steps import Workshop
from pipelines.text import text_spec
from schemas.manifest import Balance, Ledger, Manifest, PartitionEntry, ShardEntry
from workers.balance import slowest_over_mean
from workers.durable import write_whole
from workers.ledger import drop_counts, ledger

LIBRARIES = ("av", "numpy", "pillow", "pyarrow")
"""Whose versions shape bytes."""


def describe(
    workshop: Workshop, parts: Sequence[tuple[Partition, Sequence[ShardEntry]]]
) -> Manifest:
    """The manifest, version 0 until it is published; writes the ledger that it names."""
    recipe = workshop.recipe
    return Manifest(
        format=FORMAT,
        version=0,
        name=recipe.name,
        code_version=patchpack.__version__,
        recipe_digest=recipe_digest(recipe),
        recipe=_shape(recipe),
        libraries={name: library(name) for name in LIBRARIES},
        lanes=recipe.pack.lanes,
        capacity=recipe.pack.max_tokens,
        partitions=[_entry(workshop, partition, shards) for partition, shards in parts],
        ledger=_ledger(workshop, [partition for partition, _ in parts]),
    )


def _shape(recipe: Recipe) -> dict[str, object]:
    """The recipe without paths, as people read it."""
    return {
        "seed": recipe.seed,
        "sources": [
            source.model_dump(mode="json", exclude={"path", "root"}) for source in recipe.sources
        ],
        "text": text_spec(recipe.text),
        "select": recipe.select.model_dump(mode="json"),
        "policy": policy_spec(recipe),
        "render": recipe.render.model_dump(mode="json"),
        "pack": recipe.pack.model_dump(mode="json"),
    }


def _entry(
    workshop: Workshop, partition: Partition, shards: Sequence[ShardEntry]
) -> PartitionEntry:
    recipe, store = workshop.recipe, workshop.store
    packed, sized = partition.tables(store)
    costs = pack_costs(packed, sized, partition.rows * recipe.pack.lanes)
    tokens = int(costs["tokens"].sum())
    rows = packed.column("sized_row")
    return PartitionEntry(
        name=partition.name,
        digest=partition_digest(recipe, partition),
        stages={
            "surveyed": [block.surveyed.digest for block in partition.blocks],
            "tokenized": [block.tokenized.digest for block in partition.blocks if block.tokenized],
            "selected": [partition.selected.digest],
            "sized": [partition.sized.digest],
            "packed": [partition.packed.digest],
        },
        samples=len(sized),
        instances=len(packed),
        rows=partition.rows,
        packs=partition.packs,
        fillers=partition.fillers,
        tokens=tokens,
        loss_tokens=pc.sum(sized.column("loss_tokens").take(rows)).as_py() or 0,
        patches=int(costs["patches"].sum()),
        balance=Balance(
            fill=round(tokens / max(partition.packs * recipe.pack.max_tokens, 1), 6),
            lower_bound=partition.packed.facts["lower_bound"],
            slowest_over_mean=slowest_over_mean(
                costs["tokens"], costs["attention"], recipe.pack.lanes
            ),
        ),
        shards=list(shards),
    )


def _ledger(workshop: Workshop, partitions: Sequence[Partition]) -> Ledger:
    tables = [_partition_ledger(workshop, partition) for partition in partitions]
    table = pa.concat_tables(tables)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    path = ledger_path(workshop.output, sha256)
    if not path.exists():
        write_whole(path, data)
    dropped = drop_counts(table)
    seen = sum(partition.selected.rows for partition in partitions)
    return Ledger(
        name=path.name,
        sha256=sha256,
        seen=seen,
        packed=seen - sum(dropped.values()),
        dropped=dropped,
    )


def _partition_ledger(workshop: Workshop, partition: Partition) -> pa.Table:
    recipe, store = workshop.recipe, workshop.store
    digest = partition_digest(recipe, partition)
    stripe_rows = rows_per_stripe(recipe, partition, store)
    lanes = recipe.pack.lanes

    def named(pack: int) -> tuple[str, str]:
        return pack_key(digest, pack), shard_name(
            digest, pack // lanes // stripe_rows, pack % lanes
        )

    surveyed = [store.read("surveyed", block.surveyed.key) for block in partition.blocks]
    packed, sized = partition.tables(store)
    return ledger(sized, packed, surveyed, partition.name, named)
