"""pack: which samples share a pack, and where each pack stands.

Instances (a sample once a copy) become arrays, `packing.arrange` says where each one goes, and that
is written down:
1. By hash they are cut into slices, each packed by the pool (`packing.kernel`), what is left joined
and packed (`packing.buckets`).
2. With `mode = "isocost"` the capacity is modelled time, and bundles are cut into their packs
(`packing.isocost`).
3. Packs, or bundles, are written in rows of equal cost (`packing.order`).

A big partition runs `pack_slice` for each slice anywhere, and hands the results to `pack`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.columns import Ints, one_chunk
from schemas.tables import PACKED, conform
from workers.packing.arrange import Ready, arranged, ready, slice_of
from workers.packing.buckets import Packed, bucket_count
from workers.packing.hashes import instance_hashes
from workers.packing.items import NO_BOUND, Items, Room
from workers.packing.limits import Limits
from workers.packing.profile import COSTS, Coefficients
from workers.packing.sources import sources_of

VERSION = 2

_OTHERS = ("patches", "attention", "bytes", "images", "samples")
"""Bounded costs beside tokens; the first is steered."""


@dataclass(frozen=True)
class PackConfig:
    """What a pack may hold, packs a row (a power of two), the seed of every order, the model whose
    time is balanced, and packs a bundle: 0 where tokens are the capacity.
    """

    limits: Limits
    lanes: int
    seed: int
    time: Coefficients
    bundle: int = 0


@dataclass(frozen=True)
class PackTotals:
    """Figures of one partition."""

    packs: int
    """Packs with samples in them."""
    fillers: int
    rows: int
    slices: int


@dataclass(frozen=True)
class _Instances:
    """The instances of a partition."""

    row: Ints  # in SIZED
    copy: Ints
    ready: Ready


def slices_of(sized: pa.Table) -> int:
    """In how many slices the partition is packed."""
    return bucket_count(int(np.sum(sized.column("copies").to_numpy(), dtype=np.int64)))


def pack_slice(sized: pa.Table, config: PackConfig, number: int) -> Packed:
    """One slice of the partition."""
    return slice_of(_instances(sized, config).ready, number, config.seed)


def pack(
    sized: pa.Table, config: PackConfig, slices: Sequence[Packed] | None = None
) -> tuple[pa.Table, PackTotals]:
    """PACKED in written order, and its totals; `sized` is a partition's SIZED table, `slices` what
    `pack_slice` gave for each slice of it, where that was done elsewhere.

    Raises RecipeError for an isocost recipe that cannot be balanced.
    """
    instances = _instances(sized, config)
    work = instances.ready
    if slices is None:
        slices = [slice_of(work, number, config.seed) for number in range(work.slices)]
    found = arranged(work, slices, config.lanes, config.seed)
    packs = len(np.unique(found.pack))
    rows = -(-found.steps // config.lanes) * (config.bundle or 1)
    totals = PackTotals(packs, rows * config.lanes - packs, rows, work.slices)
    return _table(sized, instances, found.pack, config.lanes), totals


def _instances(sized: pa.Table, config: PackConfig) -> _Instances:
    copies = sized.column("copies").to_numpy().astype(np.int64)
    row = np.repeat(np.arange(len(sized)), copies)
    copy = np.arange(len(row)) - np.repeat(np.cumsum(copies) - copies, copies)
    costs = {name: sized.column(name).to_numpy()[row].astype(np.int64) for name in COSTS}
    ids = one_chunk(sized.column("sample_id"))
    images, videos = (sized.column(name).to_numpy()[row] for name in ("images", "videos"))
    costs |= {
        "bytes": sized.column("bytes").to_numpy()[row],
        "images": images + videos,
        "samples": np.ones(len(row), np.int64),
    }
    capacities = config.limits.capacities | {"samples": config.limits.samples or NO_BOUND}
    kept = [n for n in _OTHERS if n == "patches" or capacities.get(n, NO_BOUND) < NO_BOUND]
    plain = Items(
        size=costs["tokens"],
        others=np.column_stack([costs[name] for name in kept]).astype(np.int64),
        attention=costs["attention"],
        source=sources_of(ids)[row],
        kinds=(images > 0) + 2 * (videos > 0),
        hash=instance_hashes(ids, row, copy, config.seed),
    )
    bounds = np.array([capacities.get(name, NO_BOUND) for name in kept], np.int64)
    room = Room(config.limits.tokens, bounds, one_kind=config.limits.one_kind)
    time = config.time.time(*(costs[name] for name in COSTS))
    return _Instances(row, copy, ready(plain, room, time, config.bundle))


def _table(sized: pa.Table, instances: _Instances, written: Ints, lanes: int) -> pa.Table:
    order = np.lexsort((instances.ready.plain.hash.view(np.uint64), written))
    number, row = written[order], instances.row[order]
    lengths = sized.column("length").to_numpy()[row]
    first = np.searchsorted(number, number)  # the first instance of the same pack
    before = np.cumsum(lengths) - lengths
    taken = pa.array(row)
    columns = {
        "sample_id": sized.column("sample_id").take(taken),
        "copy": pa.array(instances.copy[order], pa.int32()),
        "block": sized.column("block").take(taken),
        "row": sized.column("row").take(taken),
        "sized_row": pa.array(row, pa.int32()),
        "pack": pa.array(number, pa.int32()),
        "place": pa.array(np.arange(len(row)) - first, pa.int32()),
        "offset": pa.array(before - before[first] if len(row) else before, pa.int32()),
        "lane": pa.array(number % lanes, pa.int32()),
        "pack_row": pa.array(number // lanes, pa.int32()),
    }
    return conform(pa.table(columns).cast(PACKED), PACKED)
