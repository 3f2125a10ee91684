import numpy as np
import pytest

from patchpack.order import EpochOrder, epoch_order, words

GROUPS = np.array([70, 70, 3, 129, 1])


def order_of(epoch: int = 0, seed: int = 0, *, lanes: int = 8, shuffle: bool = True) -> EpochOrder:
    return epoch_order("d1", seed, epoch, GROUPS, lanes, bundle=1, shuffle=shuffle)


def all_places(order: EpochOrder) -> list[tuple[int, int]]:
    stripe, group = order.places(np.arange(GROUPS.sum()))
    return list(zip(stripe.tolist(), group.tolist(), strict=True))


def test_an_epoch_has_every_group_once_and_the_next_one_in_another_order() -> None:
    expected = {(stripe, group) for stripe, size in enumerate(GROUPS) for group in range(size)}
    orders = [all_places(order_of(epoch)) for epoch in range(3)]
    for places in orders:
        assert len(places) == len(expected)
        assert set(places) == expected
    assert orders[0] != orders[1] != orders[2]
    assert all_places(order_of(seed=1)) != orders[0]


def test_places_are_found_one_by_one_as_all_at_once() -> None:
    order = order_of(5)
    numbers = np.arange(GROUPS.sum())
    whole = all_places(order)
    for number in numbers[::17]:
        stripe, group = order.places(np.array([number]))
        assert (stripe[0], group[0]) == whole[number]


def test_rows_stay_in_their_window_and_stripe_sets_together() -> None:
    order = order_of(1)
    stripe, group = order.places(np.arange(GROUPS.sum()))
    changes = np.flatnonzero(np.diff(stripe)).size
    assert changes == len(GROUPS) - 1
    inside = np.concatenate([np.arange(GROUPS[one]) for one in order.stripes])
    assert (inside // order.window == group // order.window).all()


def test_unshuffled_is_the_order_of_the_data_set() -> None:
    order = order_of(shuffle=False)
    assert all_places(order) == [(s, g) for s, size in enumerate(GROUPS) for g in range(size)]
    assert order.mask == 0


def test_masks_differ_between_epochs_and_stay_below_the_lanes() -> None:
    masks = [order_of(epoch).mask for epoch in range(40)]
    assert set(masks) == set(range(8))


@pytest.mark.parametrize("bundle", [1, 4, 64])
def test_the_window_is_a_whole_number_of_bundles(bundle: int) -> None:
    order = epoch_order("d1", 0, 0, GROUPS, 8, bundle=bundle, shuffle=True)
    assert order.window == max(2, 64 // bundle)


def test_the_order_is_the_same_in_every_version_of_numpy() -> None:
    # an order that changes makes every state that was saved worthless: raise order.VERSION
    drawn = [hex(word) for word in words((0, 0), (0, 0), 2)]
    assert drawn == ["0x2f4ba6408e4d89b", "0x3dd62b0b9ca8c5b2"]
    assert all_places(order_of())[:6] == [(1, 5), (1, 6), (1, 9), (1, 59), (1, 0), (1, 15)]
    assert order_of().mask == 4
