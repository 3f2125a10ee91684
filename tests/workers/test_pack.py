"""pack: every instance has one place, no pack is too full, and rows hold packs of equal cost."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.tables import PACKED
from tests.workers.plan_rows import sized
from workers.best_fit import best_fit
from workers.pack import PackConfig, pack

LENGTHS = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 3)), max_size=60)
CONFIGS = st.builds(
    PackConfig,
    capacity=st.integers(60, 90),
    lanes=st.sampled_from([1, 2, 4, 8]),
    seed=st.integers(0, 2**63 - 1),
)


def table_of(samples: list[tuple[int, int]]) -> pa.Table:
    """Samples of these lengths and copies; a sample without copies is dropped."""
    return sized(
        [
            {"sample_id": f"s/{i}", "tokens": length if copies else 0, "copies": copies}
            | ({} if copies else {"drop": "zero_weight"})
            for i, (length, copies) in enumerate(samples)
        ]
    )


@settings(deadline=None)
@given(LENGTHS, CONFIGS)
def test_every_instance_is_in_one_pack_and_none_is_too_full(
    samples: list[tuple[int, int]], config: PackConfig
) -> None:
    packed, totals = pack(table_of(samples), config)
    assert packed.schema == PACKED
    rows = packed.to_pylist()
    wanted = Counter((f"s/{i}", c) for i, (_, copies) in enumerate(samples) for c in range(copies))
    assert Counter((row["sample_id"], row["copy"]) for row in rows) == wanted
    assert all(row["row"] == row["sized_row"] == int(row["sample_id"][2:]) for row in rows)
    lengths = [samples[row["sized_row"]][0] for row in rows]
    filled: dict[int, int] = {}
    places: dict[int, int] = {}
    for row, length in zip(rows, lengths, strict=True):
        assert row["place"] == places.get(row["pack"], 0)
        assert row["offset"] == filled.get(row["pack"], 0)
        places[row["pack"]] = row["place"] + 1
        filled[row["pack"]] = row["offset"] + length
    assert max(filled.values(), default=0) <= config.capacity
    assert list(filled) == list(range(totals.packs))  # in written order, none of them empty
    assert totals.tokens == sum(lengths)
    assert totals.lower_bound == -(-totals.tokens // config.capacity) <= totals.packs
    assert totals.rows * config.lanes == totals.packs + totals.fillers
    assert 0 <= totals.fillers < config.lanes


@settings(deadline=None)
@given(LENGTHS, CONFIGS)
def test_rows_hold_packs_that_are_neighbours_in_cost(
    samples: list[tuple[int, int]], config: PackConfig
) -> None:
    packed, totals = pack(table_of(samples), config)
    cost = np.zeros(totals.packs, np.int64)
    for row in packed.to_pylist():
        assert (row["pack_row"], row["lane"]) == divmod(row["pack"], config.lanes)
        cost[row["pack"]] += samples[row["sized_row"]][0] ** 2
    of_row = [cost[first : first + config.lanes] for first in range(0, len(cost), config.lanes)]
    if totals.fillers:
        assert all(of_row[-1].max() <= row.min() for row in of_row[:-1])
    of_row.sort(key=lambda row: (row.max(), row.min()), reverse=True)
    assert all(above.min() >= below.max() for above, below in pairwise(of_row))


@settings(deadline=None)
@given(LENGTHS, CONFIGS, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_show(
    samples: list[tuple[int, int]], config: PackConfig, chance: random.Random
) -> None:
    table = table_of(samples)
    order = list(range(len(table)))
    chance.shuffle(order)
    columns = ["sample_id", "copy", "row", "pack", "place", "offset", "lane", "pack_row"]
    one, totals = pack(table, config)
    other, same = pack(table.take(pa.array(order, pa.int64())), config)
    assert one.select(columns).equals(other.select(columns))
    assert totals == same


def naive_best_fit(lengths: list[int], capacity: int) -> list[int]:
    """Into the fullest pack with room, of equal ones the last that was filled."""
    packs: list[tuple[int, int]] = []  # room, when it was filled
    placed = []
    for now, length in enumerate(lengths):
        rooms = [(room, -time, number) for number, (room, time) in enumerate(packs)]
        found = min((fit for fit in rooms if fit[0] >= length), default=None)
        number = found[2] if found else len(packs)
        room = found[0] if found else capacity
        packs[number : number + 1] = [(room - length, now)]
        placed.append(number)
    return placed


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), max_size=120), st.integers(40, 100))
def test_best_fit_equals_the_plain_algorithm(lengths: list[int], capacity: int) -> None:
    for order in (sorted(lengths, reverse=True), lengths):
        found = best_fit(np.array(order, np.int64), capacity)
        assert found.tolist() == naive_best_fit(order, capacity)


@pytest.mark.parametrize("capacity", [1, 2, 63, 64, 65, 1 << 20])
def test_best_fit_at_the_edges_of_its_tree(capacity: int) -> None:
    lengths = np.array([capacity, capacity, 1, 1], np.int64)
    packs = [0, 1, 2, 3 if capacity == 1 else 2]
    assert best_fit(lengths, capacity).tolist() == packs
    assert best_fit(lengths[:0], capacity).tolist() == []


def test_another_seed_is_another_order() -> None:
    table = table_of([(1 + number % 60, 1) for number in range(200)])
    seeds = [pack(table, PackConfig(100, 2, seed))[0] for seed in (1, 1, 2)]
    assert seeds[0].equals(seeds[1])
    assert not seeds[0].equals(seeds[2])


def test_a_realistic_mix_is_nearly_full() -> None:
    chance = np.random.Generator(np.random.Philox(0))
    lengths = np.clip(chance.lognormal(6, 1, 5000), 1, 8192).astype(int).tolist()
    _, totals = pack(table_of([(length, 1) for length in lengths]), PackConfig(8192, 8, 0))
    assert totals.packs <= totals.lower_bound + 1
