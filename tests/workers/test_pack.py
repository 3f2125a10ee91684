"""pack: every instance has one place, no pack breaks a bound, rows hold packs of equal cost."""

from __future__ import annotations

import random
from collections import Counter
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workers.pack as packing
from schemas.errors import RecipeError
from schemas.tables import PACKED
from tests.workers.plan_rows import Row, sized
from workers.pack import PackConfig, pack, pack_slice, slices_of
from workers.packing import buckets, kernel
from workers.packing.limits import Limits
from workers.packing.profile import COSTS, profiles

TIME = profiles()["qwen2_vl_7b"].coefficients


def config(limits: Limits, lanes: int = 2, seed: int = 0, bundle: int = 0) -> PackConfig:
    return PackConfig(limits, lanes, seed, TIME, bundle)


SAMPLE = st.fixed_dictionaries(
    {
        "tokens": st.integers(1, 60),
        "patches": st.integers(0, 40),
        "bytes": st.integers(0, 9),
        "images": st.integers(0, 2),
        "videos": st.integers(0, 1),
        "copies": st.integers(0, 3),
        "source": st.sampled_from("ab"),
    }
)
SAMPLES = st.lists(SAMPLE, max_size=60)
LIMITS = st.builds(
    Limits,
    tokens=st.integers(60, 90),
    patches=st.none() | st.integers(40, 90),
    bytes=st.none() | st.integers(9, 20),
    images=st.none() | st.integers(3, 5),
    samples=st.none() | st.integers(1, 4),
    one_kind=st.booleans(),
)
CONFIGS = st.builds(
    config,
    LIMITS,
    lanes=st.sampled_from([1, 2, 4, 8]),
    seed=st.integers(0, 2**63 - 1),
    bundle=st.sampled_from([0, 0, 2]),
)


def table_of(samples: list[Row]) -> pa.Table:
    """SIZED of these samples; one without copies is dropped."""
    return sized(
        [
            {name: sample[name] for name in sample if name != "source"}
            | {"sample_id": f"{sample.get('source', 's')}/{i}"}
            | ({} if sample.get("copies", 1) else {"drop": "zero_weight"})
            for i, sample in enumerate(samples)
        ]
    )


def lengths(values: list[int]) -> pa.Table:
    return table_of([{"tokens": value} for value in values])


def sums(packed: pa.Table, table: pa.Table, name: str) -> dict[int, int]:
    """Of a cost in each pack."""
    values = table.column(name).to_pylist()
    found: Counter[int] = Counter()
    for row in packed.to_pylist():
        found[row["pack"]] += values[row["sized_row"]]
    return dict(found)


def feasible(packed_config: PackConfig, table: pa.Table) -> Any:
    """PACKED and its totals, or None for an isocost recipe that cannot be balanced."""
    try:
        return pack(table, packed_config)
    except RecipeError:
        if not packed_config.bundle:
            raise
        return None


@settings(deadline=None)
@given(SAMPLES, CONFIGS)
def test_every_instance_is_in_one_pack_and_no_bound_is_broken(
    samples: list[Row], made: PackConfig
) -> None:
    table = table_of(samples)
    if (found := feasible(made, table)) is None:
        return
    packed, totals = found
    assert packed.schema == PACKED
    rows = packed.to_pylist()
    wanted = Counter(
        (f"{one['source']}/{i}", copy)
        for i, one in enumerate(samples)
        for copy in range(one["copies"])
    )
    assert Counter((row["sample_id"], row["copy"]) for row in rows) == wanted
    assert all(row["row"] == row["sized_row"] == int(row["sample_id"][2:]) for row in rows)
    filled: dict[int, int] = {}
    places: dict[int, int] = {}
    for row in rows:
        assert row["place"] == places.get(row["pack"], 0)
        assert row["offset"] == filled.get(row["pack"], 0)
        assert (row["pack_row"], row["lane"]) == divmod(row["pack"], made.lanes)
        places[row["pack"]] = row["place"] + 1
        filled[row["pack"]] = row["offset"] + samples[row["sized_row"]]["tokens"]
    for name, bound in made.limits.capacities.items():
        assert max(sums(packed, table, name).values(), default=0) <= bound
    if made.limits.images:
        shown = Counter(sums(packed, table, "images")) + Counter(sums(packed, table, "videos"))
        assert max(shown.values(), default=0) <= made.limits.images
    if made.limits.samples:
        assert max(places.values(), default=0) <= made.limits.samples
    if made.limits.one_kind:
        _check_kinds(rows, samples)
    assert list(filled) == sorted(filled)
    assert len(filled) == totals.packs
    assert totals.rows * made.lanes == totals.packs + totals.fillers
    if not made.bundle:
        assert list(filled) == list(range(totals.packs))  # fillers come last
        assert 0 <= totals.fillers < made.lanes


def _check_kinds(rows: list[dict[str, Any]], samples: list[Row]) -> None:
    """Pictures and videos share a pack only where one sample has both, and no other has any."""
    packs: dict[int, list[tuple[bool, bool]]] = {}
    for row in rows:
        one = samples[row["sized_row"]]
        packs.setdefault(row["pack"], []).append((one["images"] > 0, one["videos"] > 0))
    for kinds in packs.values():
        if any(image for image, _ in kinds) and any(video for _, video in kinds):
            assert [kind for kind in kinds if any(kind)] == [(True, True)]


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), max_size=80), st.sampled_from([1, 2, 4, 8]), st.integers(0, 9))
def test_rows_and_their_aligned_parts_hold_neighbours_in_cost(
    values: list[int], lanes: int, seed: int
) -> None:
    table = lengths(values)
    packed, totals = pack(table, config(Limits(70), lanes, seed))
    costs = [list(sums(packed, table, name).values()) for name in COSTS]
    time = TIME.time(*(np.array(cost, np.int64) for cost in costs))
    for ranks in (1, 2, 4, 8):
        if ranks > lanes or not totals.packs:
            break
        full = totals.packs // lanes * lanes
        steps = sorted(time[:full].reshape(-1, ranks).tolist(), key=lambda s: (max(s), min(s)))
        assert all(max(below) <= min(above) for below, above in pairwise(steps))
        if full < totals.packs:
            assert time[full:].max() <= time[:full].min(initial=time.max())


@settings(deadline=None)
@given(SAMPLES, CONFIGS, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_show(
    samples: list[Row], made: PackConfig, chance: random.Random
) -> None:
    table = table_of(samples)
    order = list(range(len(table)))
    chance.shuffle(order)
    columns = ["sample_id", "copy", "row", "pack", "place", "offset", "lane", "pack_row"]
    if (found := feasible(made, table)) is None:
        return
    other, same = pack(table.take(pa.array(order, pa.int64())), made)
    assert found[0].select(columns).equals(other.select(columns))
    assert found[1] == same


def test_slices_made_elsewhere_give_the_same_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "BUCKET", 5000)
    chance = np.random.Generator(np.random.Philox(1))
    values = np.clip(chance.lognormal(5, 1, 24_000), 1, 2048).astype(int).tolist()
    table, made = lengths(values), config(Limits(2048), 8)
    count = slices_of(table)
    assert count == 5
    slices = {number: pack_slice(table, made, number) for number in reversed(range(count))}
    elsewhere = pack(table, made, [slices[number] for number in range(count)])
    here = pack(table, made)
    assert elsewhere[0].equals(here[0])
    assert here[1].slices == count
    # every slice leaves a carry of its own; joined, they are packed again
    assert all(len(one.carry) > kernel.SLOTS // 8 for one in slices.values())
    fewest = -(-sum(values) // 2048)
    assert here[1].packs <= 1.003 * fewest


def test_another_seed_is_another_order() -> None:
    table = lengths([1 + number % 60 for number in range(200)])
    seeds = [pack(table, config(Limits(100), seed=seed))[0] for seed in (1, 1, 2)]
    assert seeds[0].equals(seeds[1])
    assert not seeds[0].equals(seeds[2])


def test_a_sample_is_stored_as_it_is_and_counts_as_it_was_rounded() -> None:
    table = table_of([{"tokens": 64, "length": 33}, {"tokens": 64, "length": 50}])
    packed, _ = pack(table, config(Limits(128), 1))
    ends = {row["place"]: row["offset"] for row in packed.to_pylist()}
    assert ends[0] == 0
    assert ends[1] in (33, 50)
    assert pack(table, config(Limits(127), 1))[1].packs == 2


def test_bundles_have_equal_time_in_any_order() -> None:
    chance = np.random.Generator(np.random.Philox(0))
    values = np.clip(chance.lognormal(6.5, 1, 40_000), 1, 8192).astype(int).tolist()
    table = lengths(values)
    packed, totals = pack(table, config(Limits(8192), 4, bundle=2))
    assert max(sums(packed, table, "tokens").values()) <= 8192
    assert totals.rows % 2 == 0
    squares = {row: length**2 for row, length in enumerate(values)}
    time: Counter[tuple[int, int]] = Counter()
    for row in packed.to_pylist():
        length = values[row["sized_row"]]
        step = row["pack_row"] // 2, row["lane"]
        time[step] += TIME.tokens * length + TIME.attention * squares[row["sized_row"]]
    times = np.array(list(time.values()))
    chance.shuffle(times)
    steps = times[: len(times) // 16 * 16].reshape(-1, 16)
    assert (steps.max(axis=1) / steps.mean(axis=1)).mean() < 1.01
    assert sum(values) / (totals.packs * 8192) > 0.75


def test_isocost_that_cannot_be_balanced_is_refused_with_the_bound() -> None:
    table = lengths([8192] * 3 + [100] * 5000)
    with pytest.raises(RecipeError, match=r"takes 1\.[0-9]{3} times the mean time of a step"):
        pack(table, config(Limits(8192), 4, bundle=1))


def test_an_empty_partition_has_no_pack() -> None:
    for bundle in (0, 2):
        packed, totals = pack(sized([]), config(Limits(100), bundle=bundle))
        assert (len(packed), totals.packs, totals.rows, totals.fillers) == (0, 0, 0, 0)


def test_the_version_is_raised_with_the_plan() -> None:
    """If this fails, raise workers.pack.VERSION and pin the new digest: old builds are stale."""
    chance = np.random.Generator(np.random.Philox(3))
    values = np.clip(chance.lognormal(6, 1, 20_000), 1, 4096).astype(int)
    rows = [
        {"tokens": int(v), "patches": int(v) * (i % 4), "source": "ab"[i % 2]}
        for i, v in enumerate(values)
    ]
    packed, _ = pack(table_of(rows), config(Limits(4096, patches=3 * 4096), 8))
    where = packed.sort_by("sized_row").column("pack").to_numpy().astype("<i4")
    assert (packing.VERSION, sha256(where.tobytes()).hexdigest()[:16]) == (2, "9fda148df2bcfb66")
