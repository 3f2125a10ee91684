"""Next-fit grouping: order is kept, nothing is over-long, a full group is closed for good."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.policies.next_fit import OverBudgetError, groups


def test_a_picture_that_does_not_fit_closes_the_group_for_good() -> None:
    assert groups([3, 4, 1, 1], 5) == [[0], [1, 2], [3]]
    assert groups([], 5) == []


def test_a_picture_without_tokens_joins_whatever_is_open() -> None:
    assert groups([0, 5, 0, 0, 1], 5) == [[0, 1, 2, 3], [4]]


def test_a_picture_longer_than_a_group_is_an_error_with_its_number() -> None:
    with pytest.raises(OverBudgetError, match="picture 1 has 6 tokens, a sequence holds 5") as at:
        groups([5, 6, 7], 5)
    assert (at.value.item, at.value.reason) == (1, "over_budget")


@given(st.lists(st.integers(0, 50)), st.integers(50, 200))
def test_groups_hold_every_picture_once_in_order(lengths: list[int], most: int) -> None:
    found = groups(lengths, most)
    assert [item for group in found for item in group] == list(range(len(lengths)))
    filled = [sum(lengths[item] for item in group) for group in found]
    assert all(one <= most for one in filled)
    for one, after in zip(filled, found[1:], strict=False):
        assert one + lengths[after[0]] > most
