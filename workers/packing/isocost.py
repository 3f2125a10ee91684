"""Packs of equal modelled time in place of equal tokens: balanced for any number of ranks, in any
order.

The capacity is modelled time, and tokens are a bound of memory. With gradient accumulation a rank
reads a bundle of A packs a step: the bundle has the capacity, and is then cut into A packs of at
most `max_tokens` each, so that the longest sample need be no longer than one pack.

No pack can take less time than its longest sample, so with the mean below it, the slowest rank
waits by at least longest / mean, whatever the packing. Such a recipe is refused with that number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np

from schemas.columns import Ints
from schemas.errors import RecipeError
from workers.packing.items import NO_BOUND, Items, Room
from workers.packing.remnant import best_fit

UNITS = 1 << 16
"""Of time in a bundle: sizes are rounded up to them."""
_TIME_BITS = 46
PERMILLE_OF_A_PACK = 625
"""Time of a bundle / time of the longest sample, for each of its packs: pairs with 1.25 use 91 % of
their tokens and still have equal time, with 1.4 no longer. A single pack has room for the longest.
"""

WORST = 1.01
"""Longest sample / mean time of a step that is still taken for balanced."""


@dataclass(frozen=True)
class Bundles:
    """How time becomes the size that the kernel packs."""

    packs: int
    capacity_time: int
    """Modelled time of a full bundle."""
    max_tokens: int
    """Of each of its packs."""


def bundles(time: Ints, tokens: Ints, max_tokens: int, packs: int) -> Bundles:
    """The bundle for these instances. Raises RecipeError where tokens do not leave the time room
    to be equal.
    """
    longest = int(time.max(initial=1))
    capacity = longest if packs == 1 else -(-longest * PERMILLE_OF_A_PACK * packs // 1000)
    # of a bundle that is full of tokens; a fuller one there is not
    mean = time.sum(dtype=np.float64) / max(int(tokens.sum()), 1) * packs * max_tokens
    if len(time) > 1 and longest > mean * WORST:
        raise RecipeError(
            f"pack: isocost packs of {packs} x {max_tokens} tokens cannot be balanced: the longest "
            f"sample takes {longest / mean:.3f} times the mean time of a step; "
            f'raise max_tokens or bundle, or take mode = "tokens"'
        )
    return Bundles(packs, capacity, max_tokens)


def timed(items: Items, room: Room, time: Ints, bundle: Bundles) -> tuple[Items, Room]:
    """The same instances with time for their size, and tokens as the first of the other costs."""
    shift = max(0, bundle.capacity_time.bit_length() - _TIME_BITS)
    whole = bundle.capacity_time >> shift
    size = np.maximum(1, -(-((time >> shift) * UNITS) // whole))
    others = np.column_stack([items.size, items.others])
    bounds = [bundle.packs * bundle.max_tokens]
    bounds += [one if one >= NO_BOUND else one * bundle.packs for one in room.others.tolist()]
    wider = replace(room, capacity=UNITS, others=np.array(bounds, np.int64), steer_attention=False)
    return replace(items, size=np.minimum(size, UNITS), others=others), wider


Sized = tuple[Items, Room]


def bundled_packs(
    plain: Sized, wide: Sized, number: Ints, count: int, bundle: Bundles
) -> tuple[Ints, Ints, int]:
    """The bundle of each instance, which of its packs it goes to, 0 .. A - 1, and how many bundles.

    `plain` is before `timed` and has the bounds of a pack, `wide` after it. In each bundle the
    longest first, each into the emptiest pack that takes it; what none takes leaves the bundle, and
    makes new ones.
    """
    part = _parts(plain, number, bundle)
    while len(out := np.flatnonzero(part < 0)):
        items, room = wide
        again, more = best_fit(items.take(out), room)
        number[out] = count + again
        count += more
        part[out] = _parts((plain[0].take(out), plain[1]), again, bundle)
    return number, part, count


def _parts(plain: Sized, number: Ints, bundle: Bundles) -> Ints:
    """Which pack of its bundle each instance goes to, or -1."""
    items, room = plain
    order = np.lexsort((items.hash.view(np.uint64), -items.size, number))
    part = np.empty(len(items), np.int64)
    part[order] = _split(
        np.ascontiguousarray(number[order]),
        np.ascontiguousarray(items.size[order]),
        np.ascontiguousarray(items.others[order]),
        np.ascontiguousarray(items.kinds[order]),
        bundle.packs,
        room.capacity,
        np.ascontiguousarray(room.others, np.int64),
        room.one_kind,
    )
    return part


@numba.njit(cache=True)
def _split(
    number: Ints,
    size: Ints,
    others: Ints,
    kinds: Ints,
    parts: int,
    capacity: int,
    bounds: Ints,
    one_kind: bool,
) -> Ints:  # pragma: no cover - compiled
    free = np.empty(parts, np.int64)
    left = np.empty((parts, len(bounds)), np.int64)
    inside = np.empty(parts, np.int64)
    part = np.empty(len(number), np.int64)
    bundle = -1
    for one in range(len(number)):
        if number[one] != bundle:
            bundle = number[one]
            free[:] = capacity
            left[:] = bounds
            inside[:] = 0
        best = -1
        for pack in range(parts):
            fits = size[one] <= free[pack]
            if one_kind and kinds[one] and inside[pack] and (kinds[one] | inside[pack]) == 3:
                fits = False
            for cost in range(len(bounds)):
                fits = fits and others[one, cost] <= left[pack, cost]
            if fits and (best < 0 or free[pack] > free[best]):
                best = pack
        part[one] = best
        if best >= 0:
            free[best] -= size[one]
            left[best] -= others[one]
            inside[best] |= kinds[one]
    return part
