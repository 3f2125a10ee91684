"""One stream of instances into packs: a pool, picks that keep the pack in step with it, and exact
closing.

The pool holds up to SLOTS instances. A pack begins with the longest of them. Then picks are
steered: of a few random ones that is taken with which patches and attention run out in step with
the tokens, at the pool's own ratio, so that no kind of sample is used up early. When little room is
left, one or two instances that fill it to the last token end the pack. What is left when the stream
ends is the carry: too few to choose from.

Every score is a whole number, so a plan is the same on every machine. Constants: measured on one
million multimodal lengths at 8k, 16k and 32k tokens (docs/packing.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from schemas.columns import Ints
from workers.packing.items import Items, Room

SLOTS = 2048
"""Of the pool. More give fuller packs of one bound and emptier ones of two, and a longer wait."""
CANDIDATES = 24
"""Looked at for a pick. More is worse: strong steering empties the pool of what closes packs."""
CLOSING = 2048
"""Room below which an exact end is looked for."""
OLDEST = 8 * SLOTS - SLOTS // 4
"""Arrivals after which an instance begins the next pack; several that are as old take turns, so the
longest wait is 8 pools and a pack. Without this bound some waited for the whole stream."""
PAIRS = 4
"""Of two lengths that fill a pack, instances tried of each where the first two break a bound."""
RATED = 32
"""Pairs of lengths that fill a pack, of which the best is taken; all of them cost twice the time
and give no better packs."""
W_STEERED, W_ATTENTION = 4, 16
"""Weights of the squared distances. With less for attention, some seeds at 32k ran out of what
balances long samples."""
W_SOURCE = 1311
"""Weight of a source's share of the pack: 0.02 in units of 2**-16."""
ATTENTION_FIRST = 52429
"""Attention runs ahead of tokens by a fifth: 0.8 in units of 2**-16."""

_ONE = 16  # bits after the point of shares
_WHOLE_BITS = 20  # that a whole is divided by with
_ATTENTION_BITS = 40  # of a whole pack's attention

# Columns of `_Pool.cost`.
_SIZE, _ATTENTION, _SOURCE, _KINDS, _OTHERS = range(5)
# What `_Open.now` has of the open pack.
_FREE, _ALLOWED, _SPENT, _TARGET, _ATTENDED, _ATTENTION_TARGET = range(6)
# Rows of `_Open.per`: what shares are of.
_BY_CAPACITY, _BY_TARGET, _BY_ATTENTION = range(3)
_ANY, _ONE_KIND = 3, 4  # bits of _ALLOWED beside those of `Items.kinds`


def pack_stream(
    items: Items, order: Ints, room: Room, seed: int, *, to_the_end: bool = False
) -> tuple[Ints, int]:
    """Pack number of the instances `order`, and the number of packs; -1 is the carry, of which
    there is none where the stream is packed `to_the_end`.

    Each instance must fit into a pack of its own. Packs are numbered as they close.
    """
    number = np.full(len(order), -1, np.int64)
    if not len(order):
        return number, 0
    stream = _Stream(  # in order: gathered all at once they cost less than one by one
        items.size[order].astype(np.int32),
        items.others[order].astype(np.int64),
        items.attention[order].astype(np.int64),
        items.source[order].astype(np.int32),
        items.kinds[order].astype(np.int8),
    )
    state = np.array([(seed * 2654435761 + 88172645463325252) % 2**64 or 1], np.uint64)
    bounds = np.ascontiguousarray(room.others, np.int64)
    scale = max(0, 2 * room.capacity.bit_length() - _ATTENTION_BITS)
    flags = np.array([room.steer_attention, room.one_kind, to_the_end, scale], np.int64)
    packs = _pack_stream(stream, room.capacity, bounds, flags, state, number)
    return number, int(packs)


Words = npt.NDArray[np.uint64]
Shorts = npt.NDArray[np.int32]


# numba's cache files name these classes: under another name, files of an earlier checkout in
# __pycache__ do not load until they are deleted.


class _Stream(NamedTuple):
    """`Items` in the order in which they arrive."""

    size: Shorts
    others: Ints
    attention: Ints
    source: Shorts
    kinds: npt.NDArray[np.int8]


class _Pool(NamedTuple):
    """SLOTS slots, each empty or with an instance; small, so that it stays in the caches."""

    item: Shorts  # [slots] when the instance arrived
    cost: Ints  # [slots, 4 + r] what it costs, by _SIZE, ...
    after: Shorts  # [slots] next slot with an instance of the same size, in order of arrival; or -1
    before: Shorts  # [slots] the one before
    first: Shorts  # [capacity + 1] first slot with an instance of this size, or -1
    last: Shorts  # [capacity + 1]
    tree: Shorts  # [2 * leaves] sizes that there are below each node
    order: Shorts  # [slots] the slots: first those in use, then those free
    place: Shorts  # [slots] where in `order`
    sums: Ints  # [4] instances in use; their size, steered cost and attention


class _Open(NamedTuple):
    """The open pack."""

    left: Ints  # [r] of the bounds of the other costs
    share: Ints  # [sources] size that each source has of it
    now: Ints  # [6] by _FREE, _ALLOWED, ...
    per: Ints  # [3, 3] by _BY_CAPACITY, ...: how a share of this whole is computed, see `_per`


@numba.njit(cache=True)
def _pack_stream(
    stream: _Stream, capacity: int, bounds: Ints, flags: Ints, state: Words, number: Ints
) -> int:  # pragma: no cover - compiled
    pool = _empty(capacity, len(bounds))
    length = len(stream.size)
    slot_of = np.empty(length, np.int32)
    sources = np.max(stream.source) + 1
    pack = _Open(
        np.empty_like(bounds),
        np.zeros(sources, np.int64),
        np.zeros(6, np.int64),
        np.zeros((3, 3), np.int64),
    )
    arrived, oldest, packs = 0, 0, 0
    while True:
        while arrived < length and pool.sums[0] < SLOTS:
            slot_of[arrived] = _add(pool, stream, arrived, flags[3])
            arrived += 1
        few = arrived == length and SLOTS - pool.sums[0] > SLOTS // 8 and not flags[2]
        if few or not pool.sums[0]:
            return packs
        while number[oldest] >= 0:
            oldest += 1
        pick = int(pool.first[_at_most(pool.tree, capacity)])
        if arrived - oldest > OLDEST:
            pick = int(slot_of[oldest])
        _begin(pack, pool, capacity, bounds, flags[1])
        while pick >= 0:
            _take(pack, pool, pick, flags[1])
            number[pool.item[pick]] = packs
            _remove(pool, pick)
            if pack.now[_FREE] == 0:
                break
            if not pool.sums[0] and arrived < length:  # a pack of more than the pool holds
                slot_of[arrived] = _add(pool, stream, arrived, flags[3])
                arrived += 1
            if not pool.sums[0]:
                break
            pick = -1
            if pack.now[_FREE] <= CLOSING:
                pick = _closing(pool, pack)
            if pick < 0:
                pick = _steered(pool, pack, flags[0], state)
            if pick < 0:
                pick = _longest(pool, pack)
        packs += 1


@numba.njit(cache=True)
def _begin(
    pack: _Open, pool: _Pool, capacity: int, bounds: Ints, one_kind: int
) -> None:  # pragma: no cover - compiled
    pack.left[:] = bounds
    pack.share[:] = 0
    now = pack.now
    now[_FREE] = capacity
    now[_ALLOWED] = _ANY | _ONE_KIND if one_kind else _ANY
    now[_SPENT] = now[_ATTENDED] = 0
    now[_TARGET] = min(max(_scaled(pool.sums[2], capacity, pool.sums[1]), 1), bounds[0])
    now[_ATTENTION_TARGET] = max(_scaled(pool.sums[3], capacity, pool.sums[1]), 1)
    _per(pack.per, _BY_CAPACITY, capacity)
    _per(pack.per, _BY_TARGET, now[_TARGET])
    _per(pack.per, _BY_ATTENTION, now[_ATTENTION_TARGET])


@numba.njit(cache=True)
def _take(
    pack: _Open, pool: _Pool, slot: int, one_kind: int
) -> None:  # pragma: no cover - compiled
    for bound in range(len(pack.left)):
        pack.left[bound] -= pool.cost[slot, _OTHERS + bound]
    pack.share[pool.cost[slot, _SOURCE]] += pool.cost[slot, _SIZE]
    now = pack.now
    now[_FREE] -= pool.cost[slot, _SIZE]
    now[_SPENT] += pool.cost[slot, _OTHERS]
    now[_ATTENDED] += pool.cost[slot, _ATTENTION]
    kinds = pool.cost[slot, _KINDS]
    if one_kind and kinds:
        now[_ALLOWED] = _ONE_KIND | (kinds if kinds < _ANY else 0)


@numba.njit(cache=True)
def _scaled(total: int, capacity: int, size: int) -> int:  # pragma: no cover - compiled
    """total * capacity / size, nearly, without a product that overflows."""
    return total // size * capacity + total % size * capacity // size


@numba.njit(cache=True)
def _empty(capacity: int, bounds: int) -> _Pool:  # pragma: no cover - compiled
    leaves = 1
    while leaves < capacity + 1:
        leaves *= 2
    return _Pool(
        np.empty(SLOTS, np.int32),
        np.empty((SLOTS, _OTHERS + bounds), np.int64),
        np.empty(SLOTS, np.int32),
        np.empty(SLOTS, np.int32),
        np.full(capacity + 1, -1, np.int32),
        np.full(capacity + 1, -1, np.int32),
        np.zeros(2 * leaves, np.int32),
        np.arange(SLOTS).astype(np.int32),
        np.arange(SLOTS).astype(np.int32),
        np.zeros(4, np.int64),
    )


@numba.njit(cache=True)
def _add(
    pool: _Pool, stream: _Stream, arrived: int, scale: int
) -> int:  # pragma: no cover - compiled
    slot = pool.order[pool.sums[0]]
    size = stream.size[arrived]
    pool.cost[slot, _SIZE] = size
    pool.cost[slot, _ATTENTION] = stream.attention[arrived] >> scale
    pool.cost[slot, _SOURCE], pool.cost[slot, _KINDS] = (
        stream.source[arrived],
        stream.kinds[arrived],
    )
    for bound in range(stream.others.shape[1]):
        pool.cost[slot, _OTHERS + bound] = stream.others[arrived, bound]
    pool.item[slot] = arrived
    pool.before[slot], pool.after[slot] = pool.last[size], -1
    if pool.last[size] < 0:
        pool.first[size] = slot
        _count(pool.tree, size, 1)
    else:
        pool.after[pool.last[size]] = slot
    pool.last[size] = slot
    _sum(pool, slot, 1)
    return int(slot)


@numba.njit(cache=True)
def _remove(pool: _Pool, slot: int) -> None:  # pragma: no cover - compiled
    size = pool.cost[slot, _SIZE]
    before, after = pool.before[slot], pool.after[slot]
    if before < 0:
        pool.first[size] = after
    else:
        pool.after[before] = after
    if after < 0:
        pool.last[size] = before
    else:
        pool.before[after] = before
    if pool.first[size] < 0:
        _count(pool.tree, size, -1)
    _sum(pool, slot, -1)
    moved, place = pool.order[pool.sums[0]], pool.place[slot]
    pool.order[place], pool.order[pool.sums[0]] = moved, slot
    pool.place[moved], pool.place[slot] = place, pool.sums[0]


@numba.njit(cache=True)
def _sum(pool: _Pool, slot: int, sign: int) -> None:  # pragma: no cover - compiled
    pool.sums[0] += sign
    pool.sums[1] += sign * pool.cost[slot, _SIZE]
    pool.sums[2] += sign * pool.cost[slot, _OTHERS]
    pool.sums[3] += sign * pool.cost[slot, _ATTENTION]


@numba.njit(cache=True)
def _count(tree: Shorts, size: int, change: int) -> None:  # pragma: no cover - compiled
    node = len(tree) // 2 + size
    while node:
        tree[node] += change
        node //= 2


@numba.njit(cache=True)
def _at_most(tree: Shorts, size: int) -> int:  # pragma: no cover - compiled
    """The largest size in the pool that is at most `size`, or -1."""
    if size < 0:
        return -1
    leaves = len(tree) // 2
    node = leaves + size
    if tree[node]:
        return size
    while node > 1:
        if node % 2 and tree[node - 1]:
            node -= 1
            while node < leaves:
                node = 2 * node + 1 if tree[2 * node + 1] else 2 * node
            return node - leaves
        node //= 2
    return -1


@numba.njit(cache=True)
def _fits(pool: _Pool, pack: _Open, slot: int) -> bool:  # pragma: no cover - compiled
    """Whether the instance breaks no bound but that of the size."""
    if pool.cost[slot, _KINDS] & ~pack.now[_ALLOWED]:
        return False
    fits = True
    for bound in range(len(pack.left)):
        fits = fits and pool.cost[slot, _OTHERS + bound] <= pack.left[bound]
    return fits


@numba.njit(cache=True)
def _first_fitting(pool: _Pool, pack: _Open, size: int) -> int:  # pragma: no cover - compiled
    """The first slot with this size that breaks no bound, or -1."""
    slot = pool.first[size]
    while slot >= 0 and not _fits(pool, pack, slot):
        slot = pool.after[slot]
    return int(slot)


@numba.njit(cache=True)
def _longest(pool: _Pool, pack: _Open) -> int:  # pragma: no cover - compiled
    """The slot with the largest size that still fits, or -1."""
    size = _at_most(pool.tree, pack.now[_FREE])
    while size >= 0:
        slot = _first_fitting(pool, pack, size)
        if slot >= 0:
            return slot
        size = _at_most(pool.tree, size - 1)
    return -1


@numba.njit(cache=True)
def _per(per: Ints, row: int, whole: int) -> None:  # pragma: no cover - compiled
    """Shift, inverse and bound with which `_share` does without a division, the slowest step."""
    shift = 0
    while whole >> shift >= 1 << _WHOLE_BITS:
        shift += 1
    per[row, 0], per[row, 1] = shift, (1 << 46) // (whole >> shift)
    per[row, 2] = (whole >> shift) << 8


@numba.njit(cache=True)
def _share(part: int, per: Ints, row: int) -> int:  # pragma: no cover - compiled
    """part / whole in units of 2**-16, at most 256 wholes, so that it can be squared."""
    bounded = min(max(part >> per[row, 0], -per[row, 2]), per[row, 2])
    return int((bounded * per[row, 1]) >> 30)


@numba.njit(cache=True)
def _steered(
    pool: _Pool, pack: _Open, steer_attention: int, state: Words
) -> int:  # pragma: no cover - compiled
    """Of a few random slots the one that keeps the pack in step with the pool, or -1."""
    now, live = pack.now, pool.sums[0]
    best, least = -1, 0
    for candidate in range(min(CANDIDATES, live)):
        slot = pool.order[candidate if live <= CANDIDATES else _draw(state, live)]
        if pool.cost[slot, _SIZE] > now[_FREE] or not _fits(pool, pack, slot):
            continue
        free = _share(now[_FREE] - pool.cost[slot, _SIZE], pack.per, _BY_CAPACITY)
        to_come = now[_TARGET] - now[_SPENT] - pool.cost[slot, _OTHERS]
        ahead = free - _share(to_come, pack.per, _BY_TARGET)
        score = W_STEERED * ahead * ahead
        if steer_attention:
            to_come = now[_ATTENTION_TARGET] - now[_ATTENDED] - pool.cost[slot, _ATTENTION]
            ahead = _share(to_come, pack.per, _BY_ATTENTION) - ((ATTENTION_FIRST * free) >> _ONE)
            score += W_ATTENTION * ahead * ahead
        share = pack.share[pool.cost[slot, _SOURCE]] + pool.cost[slot, _SIZE]
        score += W_SOURCE * _share(share, pack.per, _BY_CAPACITY)
        if best < 0 or score < least:
            best, least = int(slot), score
    return best


@numba.njit(cache=True)
def _draw(state: Words, below: int) -> int:  # pragma: no cover - compiled
    """A number from 0 to below - 1: Marsaglia's xorshift with 13, 7, 17."""
    x = state[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    state[0] = x
    return int(np.int64(((x >> np.uint64(32)) * np.uint64(below)) >> np.uint64(32)))


@numba.njit(cache=True)
def _closing(pool: _Pool, pack: _Open) -> int:  # pragma: no cover - compiled
    """A slot that fills the pack to the end, alone or with one more, or -1."""
    free, now = pack.now[_FREE], pack.now
    slot = _first_fitting(pool, pack, free)
    if slot >= 0:
        return slot
    best, least, rated = -1, 0, 0
    for short in range(1, free // 2 + 1):  # two loads a step: faster than asking the tree
        if pool.first[short] >= 0 and pool.first[free - short] >= 0:
            one, other = _pair(pool, pack, free - short)
            if one >= 0:
                over = (
                    now[_ATTENDED]
                    + pool.cost[one, _ATTENTION]
                    + pool.cost[other, _ATTENTION]
                    - now[_ATTENTION_TARGET]
                )
                score = abs(_share(over, pack.per, _BY_ATTENTION))
                over = (
                    now[_SPENT] + pool.cost[one, _OTHERS] + pool.cost[other, _OTHERS] - now[_TARGET]
                )
                score += W_STEERED * abs(_share(over, pack.per, _BY_TARGET))
                if best < 0 or score < least:
                    best, least = one, score
                rated += 1
                if rated == RATED:
                    break
    return best


@numba.njit(cache=True)
def _pair(pool: _Pool, pack: _Open, long: int) -> tuple[int, int]:  # pragma: no cover - compiled
    """Two slots, one of this size, that fill the pack and break no bound together; or -1, -1."""
    one = pool.first[long]
    for _ in range(PAIRS):
        if one < 0:
            break
        other = pool.first[pack.now[_FREE] - long]
        for _ in range(PAIRS):
            if other < 0:
                break
            if one != other and _fit(pool, pack, one, other):
                return int(one), int(other)
            other = pool.after[other]
        one = pool.after[one]
    return -1, -1


@numba.njit(cache=True)
def _fit(pool: _Pool, pack: _Open, one: int, other: int) -> bool:  # pragma: no cover - compiled
    """Whether the two break no bound together."""
    kinds, allowed = pool.cost[one, _KINDS] | pool.cost[other, _KINDS], pack.now[_ALLOWED]
    if kinds & ~allowed or (allowed & _ONE_KIND and kinds == _ANY):
        return False
    fits = True
    for bound in range(len(pack.left)):
        fits = (
            fits
            and pool.cost[one, _OTHERS + bound] + pool.cost[other, _OTHERS + bound]
            <= pack.left[bound]
        )
    return fits
