"""verify: a data set against its manifest, from the bytes up.

Of every shard: size, sha256, side files, checksums of its packs. Of every pack: header against
arrays, feature spans recomputed from the grids, pictures of the size that the geometry gives.
Then the ledger against the packs that were read, and the totals and balance figures against the
manifest.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from patchpack.header import COST_KEYS
from patchpack.index import Index, decode_index
from patchpack.layout import FormatError, Header, decode
from pipelines.steps import Progress, silent
from pipelines.versions import read_manifest
from schemas.manifest import FOLDER, Manifest, PartitionEntry, ShardEntry
from workers.balance import slowest_over_mean
from workers.inspect_pack import problems_in
from workers.sidefiles import energon_offsets, index_name
from workers.storage.folder import Folder, folder_of
from workers.storage.local import LocalFolder

MAX_PROBLEMS = 100


@dataclass
class Report:
    """What was checked, and what was found wrong; at most `MAX_PROBLEMS` are kept."""

    checked: dict[str, int] = field(
        default_factory=lambda: {"shards": 0, "packs": 0, "fillers": 0, "samples": 0}
    )
    problems: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        """Note a problem."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


@dataclass
class _Seen:
    """What the packs of a partition said of themselves."""

    samples: list[tuple[str, str, str]] = field(default_factory=list)  # sample, pack, shard
    tokens: dict[int, tuple[int, int]] = field(
        default_factory=dict
    )  # pack -> cost tokens and attention
    packs: int = 0
    fillers: int = 0
    loss_tokens: int = 0
    patches: int = 0


def verify(place: Folder | Path, progress: Progress = silent) -> Report:
    """Check the published version of the data set in a folder. Raises ContractError without a
    manifest.
    """
    root = folder_of(place) if isinstance(place, Path) else place
    manifest, report = read_manifest(root), Report()
    samples: list[tuple[str, str, str]] = []
    total, done = len(manifest.shards), 0
    progress("verify", 0, total)
    for partition in manifest.partitions:
        seen = _Seen()
        for shard in partition.shards:
            for header in _packs(root, shard, report):
                _note(header, shard, seen, report)
            done += 1
            progress("verify", done, total)
        samples += seen.samples
        _check_partition(partition, seen, manifest, report)
    _check_ledger(root, manifest, samples, report)
    return report


def _packs(root: Folder, shard: ShardEntry, report: Report) -> Iterator[Header]:
    """The headers of a shard's packs that could be read; everything wrong goes to the report."""
    report.checked["shards"] += 1
    try:
        data = _content(root, shard.name)
        index = decode_index(root.read_whole(index_name(shard.name)))
        offsets = root.read_whole(f"{shard.name}.idx")
    except (OSError, FormatError) as error:
        report.add(f"{shard.name}: {error}")
        return
    if len(data) != shard.size:
        report.add(f"{shard.name}: {len(data)} bytes, expected {shard.size}")
    elif hashlib.sha256(data).hexdigest() != shard.sha256:
        report.add(f"{shard.name}: sha256 differs from the manifest's")
    if offsets != energon_offsets(index):
        report.add(f"{shard.name}.idx: differs from the shard's index")
    if len(index) != shard.packs + shard.fillers:
        report.add(f"{shard.name}: {len(index)} packs, expected {shard.packs + shard.fillers}")
    for row in index:
        yield from _pack(data, row, shard, report)


def _content(root: Folder, name: str) -> memoryview:
    """All bytes of a shard; a local one by memory map."""
    if not isinstance(root, LocalFolder):
        return memoryview(root.read_whole(name))
    path = root.root / name
    return np.memmap(path, np.uint8, "r").data if path.stat().st_size else memoryview(b"")


def _pack(data: memoryview, row: Index, shard: ShardEntry, report: Report) -> Iterator[Header]:
    key = bytes(row["key"]).decode("ascii", "replace")
    members = []
    for name in ("header", "arrays"):
        start, size = int(row[f"{name}_offset"]), int(row[f"{name}_size"])
        member = data[start : start + size]
        if len(member) != size or zlib.crc32(member) != row[f"{name}_crc32"]:
            report.add(f"{shard.name}: pack {key} at byte {start}: {name} damaged")
            return
        members.append(member)
    try:
        pack = decode(*members)
    except FormatError as error:
        report.add(f"{shard.name}: {error}")
        return
    for problem in problems_in(pack):
        report.add(f"{shard.name}: pack {key}: {problem}")
    for name, stated in _index_row(pack.header).items():
        if row[name] != stated:
            report.add(f"{shard.name}: pack {key}: the index says {name} {row[name]}, not {stated}")
    if pack.header.key != key or pack.header.lane != shard.lane:
        report.add(
            f"{shard.name}: pack {pack.header.key} of lane {pack.header.lane} stands "
            f"where {key} should"
        )
    yield pack.header


def _index_row(header: Header) -> dict[str, int]:
    """What the index must say of a pack beside its place."""
    return {
        "row": header.row,
        "filler": header.filler,
        "samples": header.samples,
        "tokens": header.length,
        "loss_tokens": sum(header.loss_tokens),
        **{f"cost_{name}": getattr(header.cost, name) for name in COST_KEYS},
    }


def _note(header: Header, shard: ShardEntry, seen: _Seen, report: Report) -> None:
    digits = header.key.rpartition("-")[2]
    if not (digits.isascii() and digits.isdecimal()):
        report.add(f"{shard.name}: {header.key!r} does not number a pack")
        return
    number = int(digits)
    if number in seen.tokens:
        report.add(f"{shard.name}: pack {header.key} occurs twice")
    seen.tokens[number] = header.cost.tokens, header.cost.attention
    seen.packs += not header.filler
    seen.fillers += header.filler
    seen.loss_tokens += sum(header.loss_tokens)
    seen.patches += header.cost.patches
    seen.samples += [(sample_id, header.key, shard.name) for sample_id in header.sample_id]
    report.checked["packs"] += not header.filler
    report.checked["fillers"] += header.filler
    report.checked["samples"] += header.samples


def _check_partition(
    partition: PartitionEntry, seen: _Seen, manifest: Manifest, report: Report
) -> None:
    tokens = sum(tokens for tokens, _ in seen.tokens.values())
    found = (seen.packs, seen.fillers, tokens, seen.loss_tokens, seen.patches)
    stated = (
        partition.packs,
        partition.fillers,
        partition.tokens,
        partition.loss_tokens,
        partition.patches,
    )
    names = ("packs", "fillers", "tokens", "learned tokens", "patches")
    for name, have, want in zip(names, found, stated, strict=True):
        if have != want:
            report.add(f"partition {partition.name}: {have} {name}, the manifest says {want}")
    expected = partition.rows * manifest.lanes
    if sorted(seen.tokens) != list(range(expected)):
        report.add(f"partition {partition.name}: packs are not numbered 0 to {expected - 1}")
        return
    costs = np.array([seen.tokens[number] for number in range(expected)], np.int64).reshape(-1, 2)
    balance = slowest_over_mean(costs[:, 0], costs[:, 1], manifest.lanes)
    if balance != partition.balance.slowest_over_mean:
        report.add(
            f"partition {partition.name}: balance is {balance}, "
            f"the manifest says {partition.balance.slowest_over_mean}"
        )
    if costs[:, 0].max(initial=0) > manifest.capacity:
        report.add(f"partition {partition.name}: a pack has more than {manifest.capacity} tokens")


def _check_ledger(
    root: Folder, manifest: Manifest, samples: list[tuple[str, str, str]], report: Report
) -> None:
    name = manifest.ledger.name
    try:
        data = root.read_whole(f"{FOLDER}/{name}")
        table = pq.read_table(pa.BufferReader(data))
    except (OSError, pa.ArrowInvalid) as error:
        report.add(f"{name}: {error}")
        return
    if hashlib.sha256(data).hexdigest() != manifest.ledger.sha256:
        report.add(f"{name}: sha256 differs from the manifest's")
    kept = table.filter(table.column("drop").is_null())
    recorded = Counter(
        zip(*(kept.column(n).to_pylist() for n in ("sample_id", "pack", "shard")), strict=True)
    )
    for sample_id, pack, shard in list(recorded - Counter(samples))[:10]:
        report.add(f"{name}: {sample_id} is not in pack {pack} of {shard}")
    for sample_id, pack, shard in list(Counter(samples) - recorded)[:10]:
        report.add(f"{name}: {sample_id} in pack {pack} of {shard} has no row")
    dropped = dict(sorted(Counter(table.column("drop").drop_null().to_pylist()).items()))
    ledger = manifest.ledger
    if dropped != ledger.dropped or ledger.seen != ledger.packed + sum(dropped.values()):
        report.add(
            f"{name}: drops {dropped} do not add up to {ledger.seen} seen, {ledger.packed} packed"
        )
