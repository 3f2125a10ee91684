import random
from itertools import pairwise

from workers.storage.ranges import GAP_BYTES, cut, requests, slices

MIB = 1 << 20


def test_near_ranges_share_a_request_and_far_ones_do_not() -> None:
    assert requests([(0, 10), (10, 5), (GAP_BYTES + 14, 1)]) == [(0, GAP_BYTES + 15)]
    assert requests([(0, 10), (GAP_BYTES + 10, 1)]) == [(0, 10), (GAP_BYTES + 10, GAP_BYTES + 11)]


def test_a_long_range_is_cut_into_equal_requests() -> None:
    assert requests([(3, 20 * MIB)]) == cut(3, 3 + 20 * MIB)
    assert [stop - start for start, stop in cut(3, 3 + 24 * MIB)] == [8 * MIB] * 3
    assert [stop - start for start, stop in cut(0, 15 * MIB)] == [15 * MIB]
    assert cut(5, 5) == []


def test_requests_are_few_for_what_they_move_and_none_is_large() -> None:
    for size in range(8 * MIB, 200 * MIB, 77_777):
        spans = cut(0, size)
        assert len(spans) <= size / (8 * MIB)
        assert max(stop - start for start, stop in spans) < 16 * MIB


def test_order_repetition_and_nesting_cost_nothing() -> None:
    assert requests([(50, 10), (0, 100), (50, 10), (0, 0)]) == [(0, 100)]
    assert requests([(7, 0)]) == []
    assert requests([]) == []


def test_requests_hold_every_range_once() -> None:
    draw = random.Random(0)
    for _ in range(200):
        size = draw.choice([10 * MIB, 100 * MIB])
        sizes = [0, 1, 5000, 3 * MIB, 9 * MIB]
        ranges = [(draw.randrange(size), draw.choice(sizes)) for _ in range(30)]
        spans = requests(ranges)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
        for offset, length in ranges:
            end = offset + length
            held = [min(stop, end) - max(start, offset) for start, stop in spans]
            assert sum(part for part in held if part > 0) == length


def test_bytes_come_out_in_the_order_asked_for_and_short_at_the_end() -> None:
    file = random.Random(0).randbytes(30 * MIB)
    ranges = [(25 * MIB, 10 * MIB), (0, 5), (3, 19 * MIB), (0, 0), (40 * MIB, 7), (29 * MIB, 1)]
    spans = requests(ranges)
    answers = [bytearray(file[start:stop]) for start, stop in spans]
    wanted = [file[offset : offset + size] for offset, size in ranges]
    same = [a == b for a, b in zip(slices(ranges, spans, answers), wanted, strict=True)]
    assert same == [True] * len(ranges)
