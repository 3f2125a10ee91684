"""The pool kernel on streams of a few thousand instances: what a naive packer gets wrong."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.columns import Ints
from workers.packing.bounds import fewest_packs
from workers.packing.buckets import join, pack_bucket
from workers.packing.items import NO_BOUND, Items, Room
from workers.packing.kernel import OLDEST, SLOTS, pack_stream

CAPACITY = 4096


def items_of(size: Ints, patches: Ints | None = None, source: Ints | None = None) -> Items:
    """Instances in this order."""
    none = np.zeros(len(size), np.int64)
    return Items(
        size=size.astype(np.int64),
        others=(none if patches is None else patches.astype(np.int64))[:, None],
        attention=size.astype(np.int64) ** 2,
        source=none if source is None else source,
        kinds=none,
        hash=np.arange(len(size)),
    )


def room(patches: int = NO_BOUND) -> Room:
    return Room(CAPACITY, np.array([patches], np.int64))


def mix(count: int, seed: int = 0) -> tuple[Ints, Ints]:
    """Tokens and patches: a third is text, of the others most tokens are vision."""
    draws = np.random.Generator(np.random.Philox(seed))
    tokens = np.clip(draws.lognormal(6, 0.9, count), 16, CAPACITY).astype(np.int64)
    patches = np.where(draws.random(count) < 0.33, 0, 4 * np.maximum(tokens - 30, 0))
    return tokens, np.minimum(patches, 3 * CAPACITY)


def packed(items: Items, limit: Room) -> tuple[Ints, int]:
    rows = np.arange(len(items))
    return join([pack_bucket(items, rows, limit, 0)], items, limit, 0)


def waits(number: Ints) -> int:
    """The most instances that came later and were packed before: the stream is the clock."""
    placed = np.flatnonzero(number >= 0)
    newest = np.maximum.reduceat(
        placed[np.argsort(number[placed], kind="stable")],
        np.flatnonzero(np.diff(np.sort(number[placed]), prepend=-1)),
    )
    arrived = np.maximum.accumulate(newest)  # no later than when the pack closed
    return int((arrived[number[placed]] - placed).max())


def test_no_instance_waits_for_longer_than_it_may() -> None:
    tokens, patches = mix(80_000)
    tokens[5] = 77  # of patches that hardly any pack has left, so that nothing picks it
    patches[5] = 3 * CAPACITY
    number, _ = pack_stream(
        items_of(tokens, patches), np.arange(len(tokens)), room(3 * CAPACITY), 0
    )
    pack = int(np.bincount(number[number >= 0]).max())
    assert OLDEST < waits(number) <= 8 * SLOTS + pack
    assert number[5] >= 0


def test_patches_and_tokens_run_out_together() -> None:
    tokens, patches = mix(60_000)
    short = tokens < 1500
    tokens, patches = tokens[short], patches[short]
    ratio = int(1.1 * patches.sum() / tokens.sum() * CAPACITY)
    number, packs = packed(items_of(tokens, patches), room(ratio))
    bound = max(fewest_packs(tokens, CAPACITY), -(-int(patches.sum()) // ratio))
    assert packs <= 1.005 * bound
    assert np.bincount(number, weights=patches).max() <= ratio


def test_a_small_stream_is_near_the_bound() -> None:
    for count in (1, 7, 300, SLOTS, 10_000):
        tokens, _ = mix(count, count)
        _, packs = packed(items_of(tokens), room())
        assert packs <= fewest_packs(tokens, CAPACITY) + count // 1500


@pytest.mark.parametrize(
    "size",
    [
        np.full(6000, CAPACITY),
        np.full(6000, CAPACITY // 2 + 1),
        np.full(6000, 1),
        np.tile([CAPACITY, 1], 3000),
    ],
)
def test_equal_and_extreme_sizes(size: Ints) -> None:
    number, packs = packed(items_of(size), room())
    assert packs <= fewest_packs(size, CAPACITY) + 1
    assert np.bincount(number, weights=size).max() <= CAPACITY


def test_sources_that_come_one_after_another_are_mixed_by_their_hashes() -> None:
    tokens, _ = mix(30_000)
    source = np.repeat(np.arange(3), 10_000)
    items = items_of(tokens, source=source)
    order = np.random.Generator(np.random.Philox(5)).permutation(len(tokens))
    number, packs = packed(items.take(order), room())
    own = np.zeros((packs, 3))
    np.add.at(own, (number, source[order]), tokens[order])
    single = (own.max(axis=1) > 0.999 * own.sum(axis=1)).mean()
    random = np.random.Generator(np.random.Philox(6)).permutation(number)
    np.add.at(of_random := np.zeros((packs, 3)), (random, source[order]), tokens[order])
    assert single <= (of_random.max(axis=1) > 0.999 * of_random.sum(axis=1)).mean() + 0.002


def test_attention_as_large_as_it_gets_overflows_nothing() -> None:
    capacity = 1 << 24
    size = np.tile([capacity, capacity // 2, 1000, 3], 1500)
    number, packs = packed(items_of(size), Room(capacity, np.array([NO_BOUND])))
    assert packs <= fewest_packs(size, capacity) + 1
    assert np.bincount(number, weights=size).max() <= capacity


def test_nothing_is_packed_of_nothing() -> None:
    number, packs = pack_stream(items_of(np.zeros(0, np.int64)), np.arange(0), room(), 0)
    assert (len(number), packs) == (0, 0)
