"""From instances to the place of every pack: the steps of packing, on arrays alone.

1. `ready`: what the kernel packs. For isocost that is time, in bundles of packs.
2. `slice_of`: one hash slice, on its own.
3. `arranged`: what the slices left over, bundles cut into their packs, the written order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.columns import Ints
from schemas.errors import ContractError
from workers.packing.buckets import Packed, bucket_count, join, pack_bucket, rows_of_buckets
from workers.packing.isocost import Bundles, bundled_packs, bundles, timed
from workers.packing.items import Items, Room
from workers.packing.order import written_order


@dataclass(frozen=True)
class Ready:
    """Instances, ready to be packed."""

    plain: Items  # sized in tokens
    room: Room  # of a pack
    items: Items  # as the kernel takes them
    wide: Room  # as the kernel takes it: of a bundle
    time: Ints  # modelled, of each instance
    bundle: Bundles | None

    @property
    def slices(self) -> int:
        """In how many hash slices they are packed."""
        return bucket_count(len(self.plain))


@dataclass(frozen=True)
class Arranged:
    """Where each instance is."""

    step: Ints
    """Place of its bundle in written order, or of its pack where there are none."""
    pack: Ints
    """Place of its pack, `row * lanes + lane`."""
    steps: int


def ready(plain: Items, room: Room, time: Ints, bundle: int) -> Ready:
    """`bundle` is 0 where tokens are the capacity, else the packs of an isocost bundle.

    Raises ContractError for an instance that fits into no pack, and RecipeError for isocost that
    cannot be balanced.
    """
    _check(plain, room)
    if not bundle:
        return Ready(plain, room, plain, room, time, None)
    found = bundles(time, plain.size, room.capacity, bundle)
    return Ready(plain, room, *timed(plain, room, time, found), time, found)


def slice_of(work: Ready, number: int, seed: int) -> Packed:
    """One slice."""
    rows = rows_of_buckets(work.items.hash, work.slices)[number]
    return pack_bucket(work.items, rows, work.wide, seed)


def arranged(work: Ready, slices: Sequence[Packed], lanes: int, seed: int) -> Arranged:
    """All of them, given what `slice_of` gave for each slice."""
    number, steps = join(slices, work.items, work.wide, seed)
    part, packs = np.zeros(len(number), np.int64), 1
    if work.bundle:
        packs = work.bundle.packs
        number, part, steps = bundled_packs(
            (work.plain, work.room), (work.items, work.wide), number, steps, work.bundle
        )
    time = np.zeros(steps, np.int64)
    np.add.at(time, number, work.time)
    step = written_order(time, lanes, seed)[number]
    row, lane = step // lanes, step % lanes
    return Arranged(step, (row * packs + part) * lanes + lane, steps)


def _check(items: Items, room: Room) -> None:
    """The compiled code trusts sizes, and would write beside its tables."""
    fits = (items.size >= 1) & (items.size <= room.capacity)
    fits &= ((items.others >= 0) & (items.others <= room.others)).all(axis=1)
    fits &= (items.attention >= 0) & (items.source >= 0)
    if not fits.all():
        one = int(np.flatnonzero(~fits)[0])
        costs = [int(items.size[one]), *items.others[one].tolist()]
        bounds = [room.capacity, *room.others.tolist()]
        raise ContractError(f"instance {one} costs {costs}, a pack holds {bounds}")
