"""The last instances of a partition, too few to choose from: best fit over all open packs.

The largest first, each into the pack where least room is left behind, in the size and in the
steered cost alike. Three orders are tried (by size, by the larger share, by the steered cost), and
that with the fewest packs is kept. O(instances x packs), for some thousands of instances.
"""

from __future__ import annotations

import numba
import numpy as np

from schemas.columns import Ints
from workers.packing.items import NO_BOUND, Items, Room

_ONE = 16  # bits after the point of shares


def best_fit(items: Items, room: Room) -> tuple[Ints, int]:
    """Pack number of each instance, and the number of packs. Equal instances go by their order."""
    bounds = np.ascontiguousarray(room.others, np.int64)
    size = (items.size << _ONE) // room.capacity
    steered = np.zeros_like(size)
    if bounds[0] < NO_BOUND:
        steered = (items.others[:, 0] << _ONE) // bounds[0]
    orders = [-size, -np.maximum(size, steered), -steered * 1000 - size]
    tried: list[tuple[int, int, Ints]] = []
    for keys in orders[: 3 if steered.any() else 1]:
        order = np.argsort(keys, kind="stable")
        number = np.empty(len(items), np.int64)
        number[order] = _best_fit(
            np.ascontiguousarray(items.size[order]),
            np.ascontiguousarray(items.others[order]),
            np.ascontiguousarray(items.kinds[order]),
            room.capacity,
            bounds,
            bounds[0] < NO_BOUND,
            room.one_kind,
        )
        tried.append((int(number.max(initial=-1)) + 1, len(tried), number))
    packs, _, number = min(tried, key=lambda one: one[:2])
    return number, packs


@numba.njit(cache=True)
def _best_fit(
    size: Ints,
    others: Ints,
    kinds: Ints,
    capacity: int,
    bounds: Ints,
    has_steered: bool,
    one_kind: bool,
) -> Ints:  # pragma: no cover - compiled
    count = len(size)
    free = np.full(count, capacity, np.int64)
    left = np.empty((count, len(bounds)), np.int64)
    inside = np.zeros(count, np.int64)
    number = np.empty(count, np.int64)
    packs = 0
    for one in range(count):
        best, least = packs, np.int64(-1)
        for pack in range(packs):
            fits = size[one] <= free[pack]
            if one_kind and kinds[one] and inside[pack] and (kinds[one] | inside[pack]) == 3:
                fits = False
            for cost in range(len(bounds)):
                fits = fits and others[one, cost] <= left[pack, cost]
            if not fits:
                continue
            x = ((free[pack] - size[one]) << _ONE) // capacity
            score = x
            if has_steered:
                y = ((left[pack, 0] - others[one, 0]) << _ONE) // bounds[0]
                score = x + min(x, y) + 2 * abs(x - y)
            if least < 0 or score < least:
                best, least = pack, score
        if best == packs:
            left[packs] = bounds
            packs += 1
        number[one] = best
        free[best] -= size[one]
        left[best] -= others[one]
        inside[best] |= kinds[one]
    return number
