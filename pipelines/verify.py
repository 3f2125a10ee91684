"""verify: a data set against its manifest, from the bytes up.

Of every shard: size, sha256, side files, checksums of its packs. Of every pack: header against
arrays, feature spans recomputed from the grids, pictures of the size that the geometry gives.
Then the totals and balance figures of every partition against the manifest, the ledger against the
packs that were read, and the table of source files.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from patchpack.header import COST_KEYS
from patchpack.index import Index, decode_index
from patchpack.layout import FormatError, Header, decode
from pipelines.steps import Progress, silent
from pipelines.verify_tables import Packed, problems_in_tables
from pipelines.versions import read_manifest
from schemas.manifest import Manifest, PartitionEntry, ShardEntry
from workers.inspect_pack import problems_in
from workers.packing.measured import Held, balance
from workers.sidefiles import energon_offsets, index_name
from workers.storage.folder import Folder, folder_of

MAX_PROBLEMS = 100
_REST_BYTES = 1 << 20


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
    costs: dict[int, dict[str, int]] = field(default_factory=dict)  # of each pack by its number
    lengths: dict[int, list[int]] = field(default_factory=dict)  # of its samples
    sources: dict[int, list[str]] = field(default_factory=dict)
    recipes: set[str] = field(default_factory=set)
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
    samples: list[Packed] = []
    total, done = len(manifest.shards), 0
    progress("verify", 0, total)
    for partition in manifest.partitions:
        seen = _Seen()
        for shard in partition.shards:
            for header in _packs(root, shard, report):
                _note(header, shard, seen, report)
            done += 1
            progress("verify", done, total)
        samples += [(*place, partition.name) for place in seen.samples]
        _check_partition(partition, seen, manifest, report)
    for problem in problems_in_tables(root, manifest, samples):
        report.add(problem)
    return report


def _packs(root: Folder, shard: ShardEntry, report: Report) -> Iterator[Header]:
    """The headers of a shard's packs that could be read; everything wrong goes to the report.

    The shard is read once from front to back, a pack at a time.
    """
    report.checked["shards"] += 1
    try:
        index = decode_index(root.read_whole(index_name(shard.name)))
        offsets = root.read_whole(f"{shard.name}.idx")
        file = root.open(shard.name)
    except (OSError, FormatError) as error:
        report.add(f"{shard.name}: {error}")
        return
    if offsets != energon_offsets(index):
        report.add(f"{shard.name}.idx: differs from the shard's index")
    if len(index) != shard.packs + shard.fillers:
        report.add(f"{shard.name}: {len(index)} packs, expected {shard.packs + shard.fillers}")
    with closing(file):
        size, digest = file.seek(0, os.SEEK_END), hashlib.sha256()
        file.seek(0)
        for row in index:
            data = file.read(min(int(row["size"]), size - file.tell()))
            digest.update(data)
            yield from _pack(memoryview(data), row, shard, report)
        while rest := file.read(_REST_BYTES):
            digest.update(rest)
    if size != shard.size:
        report.add(f"{shard.name}: {size} bytes, expected {shard.size}")
    elif digest.hexdigest() != shard.sha256:
        report.add(f"{shard.name}: sha256 differs from the manifest's")


def _pack(data: memoryview, row: Index, shard: ShardEntry, report: Report) -> Iterator[Header]:
    """`data` is what the shard has where the index says that the pack is."""
    key = bytes(row["key"]).decode("ascii", "replace")
    members = []
    for name in ("header", "arrays"):
        start, size = int(row[f"{name}_offset"]), int(row[f"{name}_size"])
        begin = start - int(row["offset"])
        member = data[begin : begin + size]
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
    if header.key[:8] != shard.name[:8]:
        report.add(f"{shard.name}: pack {header.key} is of another shard")
    number = int(digits)
    if number in seen.costs:
        report.add(f"{shard.name}: pack {header.key} occurs twice")
    seen.costs[number] = {
        **asdict(header.cost),
        "images": header.items,
        "loss_tokens": sum(header.loss_tokens),
    }
    seen.lengths[number] = np.diff(header.cu_seqlens).tolist()
    seen.sources[number] = header.source
    seen.recipes.add(header.recipe)
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
    tokens = sum(costs["tokens"] for costs in seen.costs.values())
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
    for recipe in seen.recipes - {partition.recipe_digest}:
        report.add(f"partition {partition.name}: packs of recipe {recipe}")
    expected = partition.rows * manifest.lanes
    if sorted(seen.costs) != list(range(expected)):
        report.add(f"partition {partition.name}: packs are not numbered 0 to {expected - 1}")
        return
    if partition.rows % partition.packing.bundle:
        what = f"{partition.rows} rows are no bundles of {partition.packing.bundle}"
        report.add(f"partition {partition.name}: {what}")
        return
    held = _held(seen, partition.packing.segment_multiple)
    if not _check_costs(partition, held, report):
        return
    found_balance = balance(held, partition.packing, manifest.lanes)
    if found_balance != partition.balance:
        report.add(
            f"partition {partition.name}: balance is {found_balance}, "
            f"the manifest says {partition.balance}"
        )


def _check_costs(partition: PartitionEntry, held: Held, report: Report) -> bool:
    """Whether packs cost what their samples do, within the bounds; figures need both."""
    packs, right = len(held.costs["tokens"]), True
    for name, values in (("tokens", held.tokens), ("attention", held.tokens**2)):
        sums = np.zeros(packs, np.int64)
        np.add.at(sums, held.pack, values)
        for number in np.flatnonzero(sums != held.costs[name])[:MAX_PROBLEMS].tolist():
            what = f"states {held.costs[name][number]} {name}, its samples have {sums[number]}"
            report.add(f"partition {partition.name}: pack {number} {what}")
            right = False
    for name, bound in partition.packing.bounds.items():
        if name in held.costs and held.costs[name].max(initial=0) > bound:
            report.add(f"partition {partition.name}: a pack has more than {bound} {name}")
            right = False
    return right


def _held(seen: _Seen, segment_multiple: int) -> Held:
    numbers = sorted(seen.costs)
    names = sorted({name for sources in seen.sources.values() for name in sources})
    rank = {name: number for number, name in enumerate(names)}
    lengths = np.array([one for number in numbers for one in seen.lengths[number]], np.int64)
    counts = [len(seen.lengths[number]) for number in numbers]
    sources = [rank[one] for number in numbers for one in seen.sources[number]]
    return Held(
        costs={
            name: np.array([seen.costs[number][name] for number in numbers], np.int64)
            for name in (*COST_KEYS, "images", "loss_tokens")
        },
        pack=np.repeat(np.array(numbers, np.int64), counts),
        tokens=-(-lengths // segment_multiple) * segment_multiple,
        source=np.array(sources, np.int64),
    )
