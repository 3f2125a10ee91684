"""The tables beside the manifest against the packs that were read, and against its totals."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.manifest import FOLDER, Manifest, PartitionEntry
from schemas.reasons import Reason
from workers.caption_passes import caption_passes
from workers.storage.folder import Folder

Packed = tuple[str, str, str, str]
"""An instance as its pack's header has it: sample, pack, shard, partition."""

Check = Callable[[pa.Table, Manifest, Collection[Packed]], Iterator[str]]
"""Problems of a table, as sentences."""

_EACH = 10
"""Samples that are named where many are wrong."""


def problems_in_tables(
    root: Folder, manifest: Manifest, packed: Collection[Packed]
) -> Iterator[str]:
    """What is wrong in the ledger, the table of source files and that of captions, as sentences."""
    tables: list[tuple[str, str, Check]] = [
        (manifest.ledger.name, manifest.ledger.sha256, _of_ledger),
        (manifest.files.name, manifest.files.sha256, _of_files),
    ]
    if captions := manifest.captions:
        tables.append((captions.name, captions.sha256, _of_captions))
    for name, sha256, check in tables:
        try:
            data = root.read_whole(f"{FOLDER}/{name}")
            table = pq.ParquetFile(pa.BufferReader(data)).read()
        except (OSError, pa.ArrowInvalid) as error:
            yield f"{name}: {error}"
            continue
        if hashlib.sha256(data).hexdigest() != sha256:
            yield f"{name}: sha256 differs from the manifest's"
        for problem in check(table, manifest, packed):
            yield f"{name}: {problem}"


def _of_ledger(table: pa.Table, manifest: Manifest, packed: Collection[Packed]) -> Iterator[str]:
    kept = table.filter(table.column("drop").is_null())
    names = ("sample_id", "pack", "shard", "partition")
    recorded = Counter(zip(*(kept.column(name).to_pylist() for name in names), strict=True))
    found = Counter(packed)
    for sample_id, pack, shard, partition in list(recorded - found)[:_EACH]:
        yield f"{sample_id} of partition {partition} is not in pack {pack} of {shard}"
    for sample_id, pack, shard, partition in list(found - recorded)[:_EACH]:
        yield f"{sample_id} in pack {pack} of {shard}, partition {partition}, has no row"
    yield from _of_partitions(table, kept, manifest.partitions)
    homes = kept.select(["sample_id", "partition"]).group_by(["sample_id", "partition"])
    ids = Counter(homes.aggregate([]).column("sample_id").to_pylist())
    for sample_id, count in ids.most_common(_EACH):
        if count > 1:
            yield f"{sample_id} is kept in {count} partitions"
    dropped = dict(sorted(Counter(table.column("drop").drop_null().to_pylist()).items()))
    ledger = manifest.ledger
    if dropped != ledger.dropped or ledger.seen != ledger.packed + sum(dropped.values()):
        yield f"drops {dropped} do not add up to {ledger.seen} seen, {ledger.packed} packed"
    if ledger.seen != sum(partition.samples for partition in manifest.partitions):
        yield f"the partitions do not have the {ledger.seen} samples seen"


def _of_partitions(
    table: pa.Table, kept: pa.Table, partitions: Sequence[PartitionEntry]
) -> Iterator[str]:
    rows = table.group_by(["partition", "drop"]).aggregate([([], "count_all")]).to_pylist()
    drops: dict[str, Counter[str | None]] = {partition.name: Counter() for partition in partitions}
    for row in rows:
        drops.setdefault(row["partition"], Counter())[row["drop"]] = row["count_all"]
    ids = kept.group_by("partition").aggregate([("sample_id", "count_distinct")]).to_pylist()
    distinct = {row["partition"]: row["sample_id_count_distinct"] for row in ids}
    for partition in partitions:
        counts = drops.pop(partition.name)
        instances, taken_down = counts.pop(None, 0), counts[Reason.TAKEN_DOWN.value]
        have = (counts.total() + distinct.get(partition.name, 0), instances, taken_down)
        stated = (partition.samples, partition.instances, partition.taken_down)
        names = ("samples", "instances", "samples taken down")
        for name, one, wanted in zip(names, have, stated, strict=True):
            if one != wanted:
                yield f"partition {partition.name}: {one} {name}, the manifest says {wanted}"
    for name in drops:
        yield f"partition {name!r} is not in the manifest"


def _of_captions(table: pa.Table, manifest: Manifest, packed: Collection[Packed]) -> Iterator[str]:
    del packed
    assert manifest.captions is not None
    if len(table) != manifest.captions.requests:
        yield f"{len(table)} requests, the manifest says {manifest.captions.requests}"
    elif caption_passes(table) != manifest.captions.passes:
        yield "the totals of its passes are not the manifest's"


def _of_files(table: pa.Table, manifest: Manifest, packed: Collection[Packed]) -> Iterator[str]:
    del packed
    names = list(dict.fromkeys(table.column("partition").to_pylist()))
    wanted = [partition.name for partition in manifest.partitions]
    if names != wanted:
        yield f"names the partitions {names[:_EACH]}, the manifest {wanted[:_EACH]}"
    if len(table) != manifest.files.files:
        yield f"{len(table)} files, the manifest says {manifest.files.files}"
    twice = table.group_by(["source", "path"]).aggregate([([], "count_all")])
    for row in twice.filter(pc.greater(twice["count_all"], 1)).to_pylist()[:_EACH]:
        yield f"{row['source']}/{row['path']} is of {row['count_all']} partitions"
