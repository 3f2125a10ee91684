"""Figures over the ranks of a step, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.packing.quality import mixture, slowest_over_mean, variation


def test_equal_packs_are_even_for_every_number_of_ranks() -> None:
    assert slowest_over_mean(np.full(16, 100), 8) == {"2": 1.0, "4": 1.0, "8": 1.0}
    assert slowest_over_mean(np.array([1, 2, 3]), 1) == {}


def test_a_step_waits_for_its_slowest_rank() -> None:
    time = np.array([300, 100, 200, 200])
    assert slowest_over_mean(time, 4) == {"2": 1.25, "4": 1.5}  # (300 / 200 + 1) / 2


def test_fillers_cost_nothing_and_idle_steps_are_passed_over() -> None:
    time = np.array([100, 100, 100, 0, 0, 0, 0, 0])
    assert slowest_over_mean(time, 4) == {"2": 1.5, "4": round(4 / 3, 6)}
    assert slowest_over_mean(time * 0, 4) == {"2": 1.0, "4": 1.0}


@settings(deadline=None)
@given(st.lists(st.integers(1, 2**17), min_size=8, max_size=8))
def test_a_ratio_is_between_one_and_the_ranks(times: list[int]) -> None:
    for ranks, ratio in slowest_over_mean(np.array(times, np.int64), 8).items():
        assert 1.0 <= ratio <= int(ranks)
        steps = np.array(times).reshape(-1, int(ranks)).tolist()
        assert ratio == pytest.approx(
            np.mean([max(step) / (sum(step) / len(step)) for step in steps]), abs=1e-6
        )


def test_variation() -> None:
    assert variation(np.array([1, 3])) == 0.5
    assert variation(np.zeros(0, np.int64)) == variation(np.zeros(3, np.int64)) == 0.0


def test_a_mixture_of_two_sources() -> None:
    pack, tokens = np.array([0, 0, 1, 1]), np.array([10, 10, 20, 20])
    assert mixture(pack, np.array([0, 1, 0, 1]), tokens, 2) == (1.0, 0.0)
    assert mixture(pack, np.array([0, 0, 1, 1]), tokens, 2) == (0.0, 1.0)
    assert mixture(pack, np.zeros(4, np.int64), tokens, 2) == (1.0, 1.0)
