from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from patchpack.dataset import Dataset, Shard
from patchpack.mix import BLOCK, Mixture, quotas_of
from patchpack.order import key_of
from patchpack.plan import Plan

Place = tuple[int, int, int, int]


def dataset_of(rows: Sequence[int], lanes: int, digest: str = "d") -> Dataset:
    stripes = [
        [Shard(f"{digest}-{stripe}-{lane}", 1, "", lane, count, 0) for lane in range(lanes)]
        for stripe, count in enumerate(rows)
    ]
    return Dataset(digest, 1, lanes, 1, stripes, digest)


def plan_of(
    *datasets: Dataset, weights: Sequence[float] = (1,), epoch: int = 0, bundle: int = 1
) -> Plan:
    return Plan(datasets, quotas_of(weights), 3, epoch, bundle, True)


def places_of(plan: Plan, items: Sequence[int] | None = None) -> list[Place]:
    numbers = np.repeat(np.arange(plan.items) if items is None else np.array(items), plan.bundle)
    inside = np.tile(np.arange(plan.bundle), len(numbers) // plan.bundle)
    found = plan.places(numbers, inside)
    columns = (found.dataset, found.stripe, found.lane, found.row)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_an_epoch_is_every_pack_once_row_by_row() -> None:
    places = places_of(plan_of(dataset_of([70, 70, 5], 8)))
    assert len(places) == len(set(places)) == 145 * 8
    for first in range(0, len(places), 8):
        row = places[first : first + 8]
        assert len({(stripe, row) for _, stripe, _, row in row}) == 1
        assert sorted(lane for _, _, lane, _ in row) == list(range(8))


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_a_rank_reads_lanes_of_one_residue_and_a_step_an_aligned_run(ranks: int) -> None:
    places = places_of(plan_of(dataset_of([70, 70, 5], 8), epoch=2))
    for rank in range(ranks):
        assert len({lane % ranks for _, _, lane, _ in places[rank::ranks]}) == 1
    for first in range(0, len(places), ranks):
        lanes = sorted(lane for _, _, lane, _ in places[first : first + ranks])
        assert lanes[0] % ranks == 0
        assert lanes == list(range(lanes[0], lanes[0] + ranks))


def test_lanes_are_masked_anew_each_epoch() -> None:
    firsts = []
    for epoch in range(20):
        lanes = [lane for _, _, lane, _ in places_of(plan_of(dataset_of([4], 8), epoch=epoch))]
        assert lanes[:8] == [place ^ lanes[0] for place in range(8)]
        firsts.append(lanes[0])
    assert len(set(firsts)) > 4


def test_a_bundle_is_rows_that_follow_one_another_in_one_lane() -> None:
    plan = plan_of(dataset_of([12, 8], 4), bundle=4)
    places = places_of(plan)
    assert len(set(places)) == 80
    for first in range(0, len(places), 4):
        bundle = places[first : first + 4]
        assert len({(stripe, lane) for _, stripe, lane, _ in bundle}) == 1
        rows = [row for _, _, _, row in bundle]
        assert rows == list(range(rows[0], rows[0] + 4))
    with pytest.raises(ValueError, match=r"bundles of 3 do not divide the 8 rows of d-1-0"):
        plan_of(dataset_of([12, 8], 4), bundle=3)


def test_places_are_found_alone_as_all_at_once() -> None:
    plan = plan_of(dataset_of([70, 9], 4, "a"), dataset_of([20], 8, "b"), weights=[2, 1], epoch=1)
    places = places_of(plan)
    for item in range(0, plan.items, 37):
        assert places_of(plan, [item]) == [places[item]]


def test_a_mixture_keeps_its_weights_and_every_data_set_its_own_epochs() -> None:
    small, large = dataset_of([10], 4, "small"), dataset_of([900, 300], 8, "large")
    plans = [plan_of(small, large, weights=[1, 3], epoch=epoch) for epoch in range(4)]
    assert plans[0].run == 4
    assert plans[0].items == 10 * 4 + 1200 * 8
    places = [place for plan in plans for place in places_of(plan)]
    for first in range(0, len(places), 4):  # a step has packs of one data set
        assert len({place[0] for place in places[first : first + 4]}) == 1
    drawn = Counter(place[0] for place in places)
    assert drawn[0] / len(places) == pytest.approx(0.25, abs=0.003)
    of_small = [place for place in places if place[0] == 0]
    for first in range(0, len(of_small) - 40, 40):
        assert len(set(of_small[first : first + 40])) == 40
    assert of_small[:40] != of_small[40:80]
    of_large = [place for place in places if place[0] == 1]
    assert len(set(of_large[:9600])) == 9600


def test_quotas_fill_a_block_and_leave_nobody_out() -> None:
    assert quotas_of([1]) == (BLOCK,)
    assert quotas_of([1, 3]) == (1024, 3072)
    assert sum(quotas_of([1, 1, 1])) == BLOCK
    assert quotas_of([1e9, 1, 1]) == (BLOCK - 2, 1, 1)
    for bad in ([], [0], [1, -1], [float("nan")]):
        with pytest.raises(ValueError, match="above 0"):
            quotas_of(bad)


def test_how_often_a_data_set_was_drawn_is_known_at_any_point() -> None:
    mixture = Mixture(key_of("a"), quotas_of([5, 2, 1]))
    which, before = mixture.draws(np.arange(3 * BLOCK))
    for one in range(3):
        assert before[which == one].tolist() == list(range(int((which == one).sum())))
    assert which[:BLOCK].tolist() != which[BLOCK : 2 * BLOCK].tolist()
