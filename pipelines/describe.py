"""The manifest and the ledger of a build, from its plan and its shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import patchpack
from patchpack.layout import FORMAT, pack_key, shard_name
from pipelines.assemble import Assembled, partition_digest, recipe_digest, rows_per_stripe
from pipelines.balance import balance_of, pack_costs, packing_of
from pipelines.caption_parts import pass_of
from pipelines.describe_captions import describe_captions
from pipelines.partitions import SourceFile
from pipelines.plan import Partition, policy_spec
from pipelines.publish import files_name, ledger_name
from pipelines.published import by_partition, read_table, whole_ledger, write_table
from pipelines.render import render_shape
from pipelines.steps import Workshop
from pipelines.take_down import with_drops, without
from pipelines.text import text_spec
from schemas.digest import spec_digest
from schemas.errors import ContractError
from schemas.libraries import version
from schemas.manifest import Files, Ledger, Manifest, PartitionEntry
from schemas.tables import FILES, LEDGER
from workers.benchmark_list import read_benchmark
from workers.ledger import drop_counts, ledger
from workers.match import Rule

LIBRARIES = ("av", "numpy", "pillow", "pyarrow")
"""Whose versions shape bytes."""


@dataclass(frozen=True)
class Made:
    """A partition that this build has made: its plan and its shards."""

    partition: Partition
    assembled: Assembled

    @property
    def name(self) -> str:
        """The partition's name."""
        return self.partition.name

    @property
    def packs(self) -> int:
        """Packs with samples in them, before anything is taken down."""
        return self.partition.packs


def describe(
    workshop: Workshop, parts: Sequence[Made | PartitionEntry], base: Manifest | None
) -> Manifest:
    """The manifest, version 0 until it is published; writes the ledger and the table of files that
    it names. Partitions that were not made are taken over from `base`, the published version.
    """
    recipe = workshop.recipe
    digest = recipe_digest(recipe)
    rows = whole_ledger(workshop.output, base)
    known = _unchanged(workshop, parts, base) if rows else {}
    told = [known.get(one.name, one) if isinstance(one, Made) else one for one in parts]
    merged = {entry.name: entry.merged for entry in base.partitions} if base else {}
    entries = [
        _entry(workshop, one, merged.get(one.name, [])) if isinstance(one, Made) else one
        for one in told
    ]
    if base and not rows and not all(isinstance(one, Made) for one in told):
        what = f"{base.ledger.name} is lost or damaged; a whole build writes it again"
        raise ContractError(f"{workshop.output.url}: {what}")
    return Manifest(
        format=FORMAT,
        version=0,
        name=recipe.name,
        code_version=patchpack.__version__,
        recipe_digest=digest,
        recipe=_shape(workshop),
        older_recipes=_older(entries, digest, base),
        libraries={name: version(name) for name in LIBRARIES},
        lanes=recipe.pack.lanes,
        capacity=recipe.pack.max_tokens,
        partitions=entries,
        files=_files(workshop, parts, base),
        ledger=_ledger(workshop, told, entries, rows),
        captions=describe_captions(
            workshop, [one.partition if isinstance(one, Made) else one for one in told], base
        ),
    )


def _unchanged(
    workshop: Workshop, parts: Sequence[Made | PartitionEntry], base: Manifest | None
) -> dict[str, PartitionEntry]:
    """Entries of the published version that the partitions made would have again. Of most builds
    that is most of them; their rows of the ledger are the same too.
    """
    if base is None or base.code_version != patchpack.__version__:
        return {}
    published = {entry.name: entry for entry in base.partitions}
    return {
        one.name: published[one.name]
        for one in parts
        if isinstance(one, Made)
        and one.name in published
        and published[one.name].digest == partition_digest(workshop.recipe, one.partition)
        and published[one.name].stages.get("signals", []) == _signals(one.partition)
        and published[one.name].taken_down == len(one.assembled.taken)
        and published[one.name].shards == one.assembled.shards
    }


def _older(
    entries: Sequence[PartitionEntry], digest: str, base: Manifest | None
) -> dict[str, dict[str, Any]]:
    """The recipes of partitions that were built with another one."""
    wanted = {entry.recipe_digest for entry in entries} - {digest}
    if not base:
        return {}
    known = {**base.older_recipes, base.recipe_digest: base.recipe}
    return {one: known[one] for one in sorted(wanted)}


def _shape(workshop: Workshop) -> dict[str, object]:
    """The recipe without paths, as people read it."""
    recipe = workshop.recipe
    return {
        "seed": recipe.seed,
        "sources": [
            source.model_dump(mode="json", exclude={"path", "root"}) for source in recipe.sources
        ],
        "text": text_spec(recipe.text),
        "select": {
            **recipe.select.model_dump(mode="json", exclude={"take_down", "benchmarks"}),
            "benchmarks": [read_benchmark(path).digest for path in recipe.select.benchmarks],
        },
        "split": recipe.split.model_dump(mode="json"),
        "policy": policy_spec([Rule(one.policy, one.match) for one in recipe.policy]),
        "render": render_shape(recipe.render),
        "pack": recipe.pack.model_dump(mode="json"),
        **_shape_of_captions(workshop),
    }


def _shape_of_captions(workshop: Workshop) -> dict[str, object]:
    """Nothing where there are none, as before there were any."""
    passes = [pass_of(workshop, number, one) for number, one in enumerate(workshop.recipe.caption)]
    return {"caption": [dict(one.spec) for one in passes]} if passes else {}


def _entry(workshop: Workshop, made: Made, merged: list[str]) -> PartitionEntry:
    recipe, store, partition = workshop.recipe, workshop.store, made.partition
    packed, sized = partition.tables(store)
    packed = without(packed, made.assembled.taken)
    places = partition.rows * recipe.pack.lanes
    costs = pack_costs(packed, sized, places)
    tokens = int(costs["tokens"].sum())
    packs = int(np.count_nonzero(costs["tokens"]))
    rows = packed.column("sized_row")
    packing = packing_of(recipe, partition)
    signals = _signals(partition)
    return PartitionEntry(
        name=partition.name,
        merged=merged,
        digest=partition_digest(recipe, partition),
        recipe_digest=recipe_digest(recipe),
        stages={
            "surveyed": [block.surveyed.digest for block in partition.blocks],
            "tokenized": [block.tokenized.digest for block in partition.blocks if block.tokenized],
            "selected": [partition.selected.digest],
            "sized": [partition.sized.digest],
            "packed": [partition.packed.digest],
            **({"signals": signals} if signals else {}),
            **_captioned(partition),
        },
        samples=len(sized),
        taken_down=len(made.assembled.taken),
        instances=len(packed),
        rows=partition.rows,
        packs=packs,
        fillers=places - packs,
        tokens=tokens,
        loss_tokens=pc.sum(sized.column("loss_tokens").take(rows)).as_py() or 0,
        patches=int(costs["patches"].sum()),
        packing=packing,
        balance=balance_of(recipe, packing, packed, sized, costs),
        devices=list(made.partition.devices),
        shards=made.assembled.shards,
    )


def _captioned(partition: Partition) -> dict[str, list[str]]:
    """Digests of the tables of its captions, and of SURVEYED as found and after each pass."""
    made = [one for block in partition.blocks for one in block.captions]
    if not made:
        return {}
    return {
        "as_found": [block.as_found.digest for block in partition.blocks],
        "between": [one.digest for one in made if one.stage == "surveyed"],
        **{
            stage: [one.digest for one in made if one.stage == stage]
            for stage in ("asked", "captioned")
        },
    }


def _signals(partition: Partition) -> list[str]:
    """Digests of the tables that its clauses looked at."""
    return [digest for one in partition.measured for digest in one.digests]


def _files(
    workshop: Workshop, parts: Sequence[Made | PartitionEntry], base: Manifest | None
) -> Files:
    """The table of source files."""
    before: dict[str, pa.Table] = {}
    if base and not all(isinstance(one, Made) for one in parts):
        before = by_partition(read_table(workshop.output, base.files.name))
    table = pa.concat_tables(
        partition_files(one.partition) if isinstance(one, Made) else before[one.name]
        for one in parts
    )
    sha256, name = write_table(workshop.output, table, FILES, files_name)
    return Files(name=name, sha256=sha256, files=len(table))


def partition_files(partition: Partition) -> pa.Table:
    """FILES of one partition: what was found in a file is the digest of its blocks' tables."""
    content: dict[SourceFile, list[str]] = {}
    for block in partition.blocks:
        for file in block.files:
            content.setdefault(file, []).append(block.as_found.digest)
    rows = [
        {
            "partition": partition.name,
            "source": file.source,
            "path": file.path,
            "content": spec_digest(digests),
        }
        for file, digests in content.items()
    ]
    return pa.Table.from_pylist(rows, FILES)


def _ledger(
    workshop: Workshop,
    parts: Sequence[Made | PartitionEntry],
    entries: Sequence[PartitionEntry],
    before: Mapping[str, pa.Table],
) -> Ledger:
    """The ledger; rows of the published version's, `before`, for partitions that were not made."""
    table = pa.concat_tables(
        _partition_ledger(workshop, one)
        if isinstance(one, Made)
        else before.get(one.name, LEDGER.empty_table())
        for one in parts
    )
    sha256, name = write_table(workshop.output, table, LEDGER, ledger_name)
    dropped = drop_counts(table)
    seen = sum(entry.samples for entry in entries)
    packed = seen - sum(dropped.values())
    return Ledger(name=name, sha256=sha256, seen=seen, packed=packed, dropped=dropped)


def _partition_ledger(workshop: Workshop, made: Made) -> pa.Table:
    recipe, store, partition = workshop.recipe, workshop.store, made.partition
    stripe_rows = rows_per_stripe(recipe, partition, store)
    lanes = recipe.pack.lanes

    def named(pack: int) -> tuple[str, str]:
        stripe, lane = pack // lanes // stripe_rows, pack % lanes
        digest = made.assembled.digests[stripe, lane]
        return pack_key(digest, pack), shard_name(digest, stripe, lane)

    surveyed = store.read_all("surveyed", [block.surveyed.key for block in partition.blocks])
    packed, sized = partition.tables(store)
    taken = made.assembled.taken
    rows = ledger(with_drops(sized, taken), without(packed, taken), surveyed, partition.name, named)
    return rows
