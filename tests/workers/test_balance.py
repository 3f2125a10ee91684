"""balance: the slowest rank of each step against the mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.balance import TOKEN_TIME, slowest_over_mean


def test_equal_packs_are_even_for_every_number_of_ranks() -> None:
    tokens = np.full(16, 100)
    assert slowest_over_mean(tokens, tokens**2, 8) == {"2": 1.0, "4": 1.0, "8": 1.0}


def test_one_lane_has_nothing_to_compare() -> None:
    assert slowest_over_mean(np.array([1, 2, 3]), np.array([1, 4, 9]), 1) == {}


def test_a_step_waits_for_its_slowest_rank() -> None:
    tokens, none = np.array([300, 100, 200, 200]), np.zeros(4, np.int64)
    assert slowest_over_mean(tokens, none, 4) == {"2": 1.25, "4": 1.5}  # (300 / 200 + 1) / 2


def test_attention_counts_beside_tokens() -> None:
    tokens = np.array([1000, 1000])
    attention = np.array([TOKEN_TIME * 1000, 0])  # the first takes twice as long
    assert slowest_over_mean(tokens, attention, 2) == {"2": round(2 / 1.5, 6)}


def test_fillers_cost_nothing_and_idle_steps_are_passed_over() -> None:
    tokens = np.array([100, 100, 100, 0, 0, 0, 0, 0])
    assert slowest_over_mean(tokens, tokens**2, 4) == {"2": 1.5, "4": round(4 / 3, 6)}
    assert slowest_over_mean(tokens * 0, tokens * 0, 4) == {"2": 1.0, "4": 1.0}


@settings(deadline=None)
@given(st.lists(st.integers(1, 2**17), min_size=8, max_size=8))
def test_a_ratio_is_between_one_and_the_ranks(lengths: list[int]) -> None:
    tokens = np.array(lengths, np.int64)
    for ranks, ratio in slowest_over_mean(tokens, tokens**2, 8).items():
        assert 1.0 <= ratio <= int(ranks)
        steps = (TOKEN_TIME * tokens + tokens**2).reshape(-1, int(ranks))
        assert ratio == pytest.approx(
            np.mean([max(step) / (sum(step) / len(step)) for step in steps.tolist()]), abs=1e-6
        )
