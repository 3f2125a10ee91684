"""A workload packed as a build packs it, timed; and in chunks of a million."""

from __future__ import annotations

import hashlib
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from benchmarks.packing_workload import Columns, workload
from schemas.columns import Ints
from workers.packing.arrange import Ready, arranged, ready, slice_of
from workers.packing.buckets import Packed, join, pack_bucket
from workers.packing.hashes import mixed
from workers.packing.items import NO_BOUND, Items, Room
from workers.packing.kernel import SLOTS
from workers.packing.profile import profiles

MILLION = 1_000_000


@dataclass(frozen=True)
class Settings:
    """How a workload is packed."""

    capacity: int
    patch_capacity: int | None = None
    bundle: int = 0
    """0: tokens are the capacity; else isocost, of so many packs of `capacity` tokens."""
    lanes: int = 512
    seed: int = 0
    workers: int = 1


@dataclass(frozen=True)
class Plan:
    """Where each sample is, in the order of the workload."""

    pack: Ints
    """In written order; where no bundle lacks a pack, without a gap."""
    bundle: Ints
    """The place of its bundle, or of its pack where there are none."""
    cpu_seconds: float


def plan(columns: Columns, settings: Settings) -> Plan:
    """Pack a workload. Raises RecipeError where isocost cannot be balanced, ContractError where a
    sample fits into no pack.
    """
    began = _cpu_seconds()
    model = profiles()["7b"].coefficients
    none = np.zeros(1, np.int64)
    time_of = model.time(columns.tokens.astype(np.int64), columns.attention, none, none)
    work = ready(_items(columns, settings), _room(settings), time_of, settings.bundle)
    found = arranged(work, _slices(work, settings), settings.lanes, settings.seed)
    return Plan(found.pack, found.step, _cpu_seconds() - began)


def _cpu_seconds() -> float:
    """Of this process and its children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _room(settings: Settings) -> Room:
    return Room(settings.capacity, np.array([settings.patch_capacity or NO_BOUND], np.int64))


def _items(columns: Columns, settings: Settings) -> Items:
    keys = columns.key.astype(np.uint64) + np.uint64(settings.seed)
    return Items(
        size=columns.tokens,
        others=columns.patches[:, None],
        attention=columns.attention,
        source=columns.source,
        kinds=np.zeros(len(columns.key), np.int8),
        hash=mixed((keys + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)).view(np.int64),
    )


_FORKED: list[tuple[Ready, int]] = []


def _slices(work: Ready, settings: Settings) -> list[Packed]:
    _FORKED[:] = [(work, settings.seed)]
    if settings.workers == 1:
        return [_slice(number) for number in range(work.slices)]
    with get_context("fork").Pool(settings.workers) as pool:
        return pool.map(_slice, range(work.slices), chunksize=1)


def _slice(number: int) -> Packed:
    work, seed = _FORKED[0]
    return slice_of(work, number, seed)


CHUNK = Settings(16384)


@dataclass(frozen=True)
class Chunk:
    """A hash slice of its own, packed where it was made."""

    packs: int
    digest: str
    carry: Items
    cpu_seconds: float
    megabytes: float


def packed_chunk(number: int) -> Chunk:
    """A million samples, whose making does not count."""
    items = _items(workload(MILLION, CHUNK.capacity, seed=number), CHUNK)
    began = time.process_time()
    one = pack_bucket(items, items.by_hash(), _room(CHUNK), CHUNK.seed)
    spent = time.process_time() - began
    digest = hashlib.sha256(one.rows.tobytes() + one.number.tobytes()).hexdigest()
    return Chunk(one.packs, digest, items.take(one.carry), spent, peak_megabytes())


def joined_chunks(chunks: Sequence[Chunk]) -> tuple[int, str, float]:
    """Packs of all of them with what is left joined, the digest of all, CPU seconds of joining."""
    began = time.process_time()
    items = Items.joined([chunk.carry for chunk in chunks])
    ends = np.cumsum([len(chunk.carry) for chunk in chunks])
    nothing = np.zeros(0, np.int64)
    rows = np.split(np.arange(len(items)), ends[:-1])
    rest = [Packed(nothing, nothing, 0, one) for one in rows]
    number, last = join(rest, items, _room(CHUNK), CHUNK.seed)
    digest = hashlib.sha256("".join(chunk.digest for chunk in chunks).encode() + number.tobytes())
    packs = sum(chunk.packs for chunk in chunks) + last
    return packs, digest.hexdigest(), time.process_time() - began


def peak_megabytes() -> float:
    """Of this process so far, and the largest of its children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(one.ru_maxrss for one in used) / 1024


def longest_wait(columns: Columns, settings: Settings) -> int:
    """Most arrivals between that of a sample and its pack, in pools, rounded up."""
    items = _items(columns, settings)
    rows = items.by_hash()
    one = pack_bucket(items, rows, _room(settings), settings.seed)
    place = np.empty(len(rows), np.int64)
    place[rows] = np.arange(len(rows))
    packed = np.bincount(one.number)
    arrived = np.minimum(SLOTS + np.cumsum(packed) - packed, len(rows))
    return int((arrived[one.number] - place[one.rows]).max())
