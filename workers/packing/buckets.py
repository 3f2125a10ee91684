"""A partition in hash slices that are packed on their own, and their carries joined in a tree.

The slice of an instance follows from its hash, and how many slices there are from the number of
instances, so the plan is the same for any number of workers and any order of arrival. Carries are
packed again, FAN_IN of them together, until one is left, which is packed to its end. Nothing here
is visible outside the partition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from schemas.columns import Ints
from workers.packing.items import Items, Room, by_hash
from workers.packing.kernel import SLOTS, pack_stream
from workers.packing.remnant import best_fit

BUCKET = 1 << 20
"""Instances of a slice, about. Below 50 pools each carry costs fill."""
FAN_IN = 32
TRIES = 8
"""Draws of the pool for the last instances; they take milliseconds."""


@dataclass(frozen=True)
class Packed:
    """Rows of a slice in packs, and those left over; `rows` are rows of the partition."""

    rows: Ints
    number: Ints
    """[rows] pack, from 0 without a gap."""
    packs: int
    carry: Ints
    """Rows of the partition, by hash."""


def bucket_count(instances: int) -> int:
    """How many slices so many instances are packed in."""
    return max(1, round(instances / BUCKET))


def rows_of_buckets(hashes: Ints, count: int) -> list[Ints]:
    """The rows of each slice, by hash: the order in which they are packed."""
    order = by_hash(hashes)
    if count == 1:
        return [order]
    bucket = (hashes.view(np.uint64) % np.uint64(count)).astype(np.int64)[order]
    return [order[bucket == number] for number in range(count)]


def pack_bucket(items: Items, rows: Ints, room: Room, seed: int) -> Packed:
    """Pack these rows of `items`, in this order."""
    number, packs = pack_stream(items, rows, room, seed)
    inside = number >= 0
    return Packed(rows[inside], number[inside], packs, rows[~inside])


def join(buckets: Sequence[Packed], items: Items, room: Room, seed: int) -> tuple[Ints, int]:
    """The pack of every row of the partition, and the number of packs.

    Packs are numbered slice by slice, then level by level of the tree, the remnant last.
    """
    number = np.full(len(items), -1, np.int64)
    packs = _number(number, buckets, 0)
    carries = [bucket.carry for bucket in buckets]
    while len(carries) > 1:
        joined = [
            _sorted(np.concatenate(carries[start : start + FAN_IN]), items)
            for start in range(0, len(carries), FAN_IN)
        ]
        again = [
            pack_bucket(items, rows, room, seed)
            if len(rows) >= 2 * SLOTS
            else Packed(rows[:0], rows[:0], 0, rows)
            for rows in joined
        ]
        packs = _number(number, again, packs)
        carries = [one.carry for one in again]
    rest = carries[0]
    last, count = _remnant(items.take(rest), room, seed)
    number[rest] = packs + last
    return number, packs + count


def _remnant(items: Items, room: Room, seed: int) -> tuple[Ints, int]:
    """By the pool to its end, which balances, or by best fit where that takes fewer packs."""
    fitted, fewest = best_fit(items, room)
    every = np.arange(len(items))
    for attempt in range(TRIES):
        steered, count = pack_stream(items, every, room, seed + attempt, to_the_end=True)
        if count <= fewest:
            return steered, count
    return fitted, fewest


def _number(number: Ints, parts: Iterable[Packed], packs: int) -> int:
    for part in parts:
        number[part.rows] = packs + part.number
        packs += part.packs
    return packs


def _sorted(rows: Ints, items: Items) -> Ints:
    sorted_rows: Ints = rows[by_hash(items.hash[rows])]
    return sorted_rows
