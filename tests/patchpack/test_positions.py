"""M-RoPE ids against a plain walk through the sequence, orders of patches against their words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchpack.mrope import Blocks, Resume, mrope_ids
from patchpack.positions import segment_positions
from patchpack.vit_positions import (
    interpolation_taps,
    merge_block_order,
    row_major_order,
    vit_cu_seqlens,
    window_index,
)

GRID = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
# text before a block, the block, its seconds
PART = st.tuples(st.integers(0, 4), GRID, st.sampled_from([0.0, 0.5, 1.3333333333333333, 4.0]))
SAMPLE = st.tuples(st.lists(PART, max_size=4), st.integers(1, 4))


Part = tuple[int, tuple[int, int, int], float]
Sample = tuple[list[Part], int]


def walked(parts: list[Part], after: int, resume: Resume, rate: float) -> list[list[int]]:
    """The ids of one sample, token by token."""
    ids: list[list[int]] = []
    cursor = 0
    for text, (frames, rows, columns), seconds in parts:
        ids += [[cursor + k] * 3 for k in range(text)]
        cursor += text
        last = 0
        for frame in range(frames):
            last = frame
            if rate and resume == "max_thw":
                last = int(np.float32(frame) * np.float32(seconds) * np.float32(rate))
            elif rate:
                last = int(np.float32(frame) * (np.float32(rate) * np.float32(seconds)))
            ids += [
                [cursor + last, cursor + row, cursor + column]
                for row in range(rows)
                for column in range(columns)
            ]
        cursor += max(last + 1, rows, columns) if resume == "max_thw" else max(rows, columns)
    return ids + [[cursor + k] * 3 for k in range(after)]


@settings(deadline=None)
@given(
    st.lists(SAMPLE, max_size=4),
    st.sampled_from(["max_thw", "max_hw"]),
    st.sampled_from([0.0, 2.0, 25.0]),
)
def test_ids_are_those_of_a_walk(samples: list[Sample], resume: Resume, rate: float) -> None:
    wanted = [walked(parts, after, resume, rate) for parts, after in samples]
    ends = np.cumsum([0, *map(len, wanted)])
    starts, grids, seconds = [], [], []
    for first, (parts, _) in zip(ends, samples, strict=False):
        at = int(first)
        for text, grid, each in parts:
            starts.append(at + text)
            grids.append(grid)
            seconds.append(each)
            at += text + int(np.prod(grid))
    blocks = Blocks(
        np.array(starts, np.int64), np.array(grids, np.int64).reshape(-1, 3), np.array(seconds)
    )
    found = mrope_ids(ends, blocks, resume, rate)
    assert found.T.tolist() == [one for sample in wanted for one in sample]


def test_blocks_that_do_not_fit_are_told() -> None:
    def ids(start: list[int], grid: list[list[int]]) -> None:
        blocks = Blocks(np.array(start), np.array(grid), np.zeros(len(start)))
        mrope_ids(np.array([0, 6, 12]), blocks, "max_thw")

    ids([1, 8], [[1, 2, 2], [1, 2, 2]])
    for start in (-1, 4, 9, 12):
        with pytest.raises(ValueError, match="leaves its sample"):
            ids([start], [[1, 2, 2]])
    for starts in ([0, 1], [8, 0]):
        with pytest.raises(ValueError, match="overlap, or are not in order"):
            ids(starts, [[1, 2, 2], [1, 2, 2]])


def test_positions_of_a_pack_without_a_sample() -> None:
    nothing = Blocks(np.zeros(0, np.int64), np.zeros((0, 3), np.int64), np.zeros(0))
    assert mrope_ids(np.array([0]), nothing, "max_thw").shape == (3, 0)
    assert segment_positions(np.array([0])).tolist() == []
    assert segment_positions(np.array([0, 2, 5])).tolist() == [0, 1, 0, 1, 2]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)), max_size=3))
def test_windows_hold_neighbours_and_every_unit_once(grids: list[tuple[int, int, int]]) -> None:
    units_thw = np.array(grids, np.int64).reshape(-1, 3)
    grid = units_thw * np.array([1, 2, 2])
    order, ends = window_index(grid)
    units = int(grid.prod(axis=1).sum()) // 4
    assert sorted(order.tolist()) == list(range(units))
    assert ends[-1] == 4 * units
    assert (np.diff(ends) > 0).all()
    assert (np.diff(ends) <= 4 * 16).all()
    # windows stay inside the segments of the frames
    assert set(vit_cu_seqlens(grid).tolist()) <= set(ends.tolist())
    places = row_major_order(units_thw)[order]
    for first, last in zip(ends[:-1] // 4, ends[1:] // 4, strict=True):
        assert len(np.unique(places[first:last] // 4, axis=0)) == 1


def test_merge_blocks_keep_the_patches_of_a_token_together() -> None:
    places = merge_block_order(np.array([[1, 4, 6]]))
    assert np.unique(places, axis=0).tolist() == row_major_order(np.array([[1, 4, 6]])).tolist()
    assert (places.reshape(-1, 4, 2) // 2 == places.reshape(-1, 4, 2)[:, :1] // 2).all()


@given(GRID)
def test_taps_reproduce_what_is_linear_on_the_table(grid: tuple[int, int, int]) -> None:
    sizes = np.array([grid]) * np.array([1, 2, 2])
    taps, weights = interpolation_taps(sizes, side=48)
    table = np.add.outer(3.0 * np.arange(48), np.arange(48)).ravel()
    places = merge_block_order(sizes) * 47 / np.maximum(sizes[0, 1:] - 1, 1)
    assert np.allclose((table[taps] * weights).sum(axis=1), places @ [3.0, 1.0], atol=1e-4)
    assert np.allclose(weights.sum(axis=1), 1)
