"""Bounds hold for every packing, and are met where that is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.packing.bounds import fewest_packs, least_variation


def optimum(sizes: list[int], capacity: int) -> int:
    """The fewest packs, by trying everything."""
    if not sizes:
        return 0
    for packs in range(1, len(sizes) + 1):
        for places in itertools.product(range(packs), repeat=len(sizes)):
            filled = np.bincount(places, weights=sizes, minlength=packs)
            if filled.max() <= capacity:
                return packs
    raise AssertionError


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 20), max_size=6), st.integers(20, 25))
def test_no_packing_has_fewer(sizes: list[int], capacity: int) -> None:
    bound = fewest_packs(np.array(sizes, np.int64), capacity)
    best = optimum(sizes, capacity)
    assert -(-sum(sizes) // capacity) <= bound <= best


def test_items_over_half_need_a_pack_each() -> None:
    assert fewest_packs(np.full(10, 60), 100) == 10
    assert fewest_packs(np.array([60, 60, 41, 41, 41]), 100) == 4  # 41 fits beside none
    assert fewest_packs(np.array([60, 60, 40, 40, 20]), 100) == 3


def test_a_capacity_beyond_the_histogram_is_rounded_to_the_safe_side() -> None:
    capacity = 1 << 20
    sizes = np.full(5, capacity // 2 + 100)
    assert 3 <= fewest_packs(sizes, capacity) <= 5


@settings(deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=7), st.integers(1, 4))
def test_no_packing_is_more_even(attention: list[int], packs: int) -> None:
    bound = least_variation(np.array(attention, np.int64), packs)
    for places in itertools.product(range(packs), repeat=len(attention)):
        sums = np.bincount(places, weights=attention, minlength=packs)
        assert sums.std() / sums.mean() >= bound - 1e-9
        if packs ** len(attention) > 2000:
            break


def test_one_heavy_instance_cannot_be_evened_out() -> None:
    assert least_variation(np.array([100, 50, 50]), 2) == pytest.approx(0.0)
    assert least_variation(np.array([300, 50, 50]), 2) == pytest.approx(0.5)  # 300 and 100
    assert least_variation(np.zeros(3, np.int64), 2) == 0.0
