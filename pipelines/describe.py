"""The manifest and the ledger of a build, from its plan and its shards."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import patchpack
from patchpack.layout import FORMAT, pack_key, shard_name
from pipelines.assemble import Assembled, partition_digest, recipe_digest, rows_per_stripe
from pipelines.partitions import SourceFile
from pipelines.plan import Partition, pack_costs, policy_spec
from pipelines.publish import files_name, ledger_name
from pipelines.recipe import Recipe
from pipelines.steps import Workshop
from pipelines.take_down import with_drops, without
from pipelines.text import text_spec
from schemas.digest import spec_digest
from schemas.errors import ContractError
from schemas.libraries import version
from schemas.manifest import FOLDER, Balance, Files, Ledger, Manifest, PartitionEntry
from schemas.tables import FILES, LEDGER, conform
from workers.balance import slowest_over_mean
from workers.ledger import drop_counts, ledger
from workers.match import Rule
from workers.storage.folder import Folder

LIBRARIES = ("av", "numpy", "pillow", "pyarrow")
"""Whose versions shape bytes."""


@dataclass(frozen=True)
class Made:
    """A partition that this build has made: its plan and its shards."""

    partition: Partition
    assembled: Assembled

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
    entries = [_entry(workshop, one) if isinstance(one, Made) else one for one in parts]
    return Manifest(
        format=FORMAT,
        version=0,
        name=recipe.name,
        code_version=patchpack.__version__,
        recipe_digest=digest,
        recipe=_shape(recipe),
        older_recipes=_older(entries, digest, base),
        libraries={name: version(name) for name in LIBRARIES},
        lanes=recipe.pack.lanes,
        capacity=recipe.pack.max_tokens,
        partitions=entries,
        files=_files(workshop, parts, base),
        ledger=_ledger(workshop, parts, base),
    )


def _older(
    entries: Sequence[PartitionEntry], digest: str, base: Manifest | None
) -> dict[str, dict[str, Any]]:
    """The recipes of partitions that were built with another one."""
    wanted = {entry.recipe_digest for entry in entries} - {digest}
    if not base:
        return {}
    known = {**base.older_recipes, base.recipe_digest: base.recipe}
    return {one: known[one] for one in sorted(wanted)}


def _shape(recipe: Recipe) -> dict[str, object]:
    """The recipe without paths, as people read it."""
    return {
        "seed": recipe.seed,
        "sources": [
            source.model_dump(mode="json", exclude={"path", "root"}) for source in recipe.sources
        ],
        "text": text_spec(recipe.text),
        "select": recipe.select.model_dump(mode="json", exclude={"take_down"}),
        "split": recipe.split.model_dump(mode="json"),
        "policy": policy_spec([Rule(one.policy, one.match) for one in recipe.policy]),
        "render": recipe.render.model_dump(mode="json"),
        "pack": recipe.pack.model_dump(mode="json"),
    }


def _entry(workshop: Workshop, made: Made) -> PartitionEntry:
    recipe, store, partition = workshop.recipe, workshop.store, made.partition
    packed, sized = partition.tables(store)
    packed = without(packed, made.assembled.taken)
    places = partition.rows * recipe.pack.lanes
    costs = pack_costs(packed, sized, places)
    tokens = int(costs["tokens"].sum())
    packs = int(np.count_nonzero(costs["tokens"]))
    rows = packed.column("sized_row")
    return PartitionEntry(
        name=partition.name,
        digest=partition_digest(recipe, partition),
        recipe_digest=recipe_digest(recipe),
        stages={
            "surveyed": [block.surveyed.digest for block in partition.blocks],
            "tokenized": [block.tokenized.digest for block in partition.blocks if block.tokenized],
            "selected": [partition.selected.digest],
            "sized": [partition.sized.digest],
            "packed": [partition.packed.digest],
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
        balance=Balance(
            fill=round(tokens / max(packs * recipe.pack.max_tokens, 1), 6),
            lower_bound=-(-tokens // recipe.pack.max_tokens),
            slowest_over_mean=slowest_over_mean(
                costs["tokens"], costs["attention"], recipe.pack.lanes
            ),
        ),
        shards=made.assembled.shards,
    )


def _files(
    workshop: Workshop, parts: Sequence[Made | PartitionEntry], base: Manifest | None
) -> Files:
    """The table of source files."""
    before = base.files.name if base else ""
    table = _rows_of(workshop, parts, before, lambda one: partition_files(one.partition))
    sha256, name = _write_table(workshop, table, files_name)
    return Files(name=name, sha256=sha256, files=len(table))


def _rows_of(
    workshop: Workshop,
    parts: Sequence[Made | PartitionEntry],
    before: str,
    rows: Callable[[Made], pa.Table],
) -> pa.Table:
    """A table of all partitions: of those that were not made, the rows that the published version
    has in its file `before`.
    """
    tables, old = [], None
    for one in parts:
        if isinstance(one, Made):
            tables.append(rows(one))
            continue
        if old is None:
            old = read_table(workshop.output, before)
        tables.append(old.filter(pc.equal(old.column("partition"), one.name)))
    return pa.concat_tables(tables)


def partition_files(partition: Partition) -> pa.Table:
    """FILES of one partition: what was found in a file is the digest of its blocks' tables."""
    content: dict[SourceFile, list[str]] = {}
    for block in partition.blocks:
        for file in block.files:
            content.setdefault(file, []).append(block.surveyed.digest)
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


def published_files(root: Folder, base: Manifest | None) -> dict[SourceFile, str]:
    """The files of a version and their partitions, in the order of the partitions."""
    if base is None:
        return {}
    table = read_table(root, base.files.name)
    columns = (table.column(name).to_pylist() for name in ("source", "path", "partition"))
    return {SourceFile(source, path): name for source, path, name in zip(*columns, strict=True)}


def read_table(root: Folder, name: str) -> pa.Table:
    """A Parquet table beside the manifests. Raises ContractError naming it."""
    path = f"{FOLDER}/{name}"
    try:
        return pq.ParquetFile(pa.BufferReader(root.read_whole(path))).read()
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise ContractError(f"{root.url}/{path}: {error}") from error


def _write_table(
    workshop: Workshop, table: pa.Table, name_of: Callable[[str], str]
) -> tuple[str, str]:
    """The digest of the table's file, and its name."""
    buffer = io.BytesIO()
    # in one piece: the bytes must not tell which rows were taken over from the version before
    pq.write_table(table.combine_chunks(), buffer, compression="zstd")
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    path = name_of(sha256)
    if workshop.output.stat(path) is None:
        workshop.output.write_whole(path, data)
    return sha256, path.rpartition("/")[2]


def _ledger(
    workshop: Workshop, parts: Sequence[Made | PartitionEntry], base: Manifest | None
) -> Ledger:
    before = base.ledger.name if base else ""
    rows = _rows_of(workshop, parts, before, partial(_partition_ledger, workshop))
    table = conform(rows, LEDGER)  # read from a file, the elements of a list have another name
    sha256, name = _write_table(workshop, table, ledger_name)
    dropped = drop_counts(table)
    seen = sum(
        one.partition.selected.rows if isinstance(one, Made) else one.samples for one in parts
    )
    return Ledger(
        name=name,
        sha256=sha256,
        seen=seen,
        packed=seen - sum(dropped.values()),
        dropped=dropped,
    )


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
