"""What a layout counts in columns is what its parts give one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schemas.sized import NEWLINE, NEXT, OTHER, Layout, Ragged, Texts
from workers.expand import equal_lengths, run_lengths

Part = tuple[int, int, int]

# rows and columns may be 0: a map whose picture is all padding has none
PART = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0, NEWLINE, OTHER, NEXT]))


def layout(media: list[tuple[int, list[Part]]]) -> Layout:
    counts = np.array([len(parts) for _, parts in media], np.int64)
    values = np.array([part for _, parts in media for part in parts], np.int64).reshape(-1, 3)
    return Layout(
        runs=np.array([runs for runs, _ in media], np.int64),
        parts=Ragged.from_counts(values, counts),
        texts=Texts.none(len(media)),
    )


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(PART, max_size=4)), max_size=5))
def test_runs_and_embeddings_of_all_media_at_once(media: list[tuple[int, list[Part]]]) -> None:
    found = layout(media)
    lengths = [(runs, run_lengths(parts)) for runs, parts in media]
    assert found.run_counts.tolist() == [runs * len(each) for runs, each in lengths]
    assert found.embeddings.tolist() == [runs * sum(each) for runs, each in lengths]


def test_next_ends_a_run_after_each_of_its_rows() -> None:
    parts = [(14, 14, NEXT), (23, 20, NEXT)]
    assert run_lengths(parts) == [14] * 14 + [20] * 23
    found = layout([(1, parts), (2, [(1, 4, NEXT), (2, 3, NEWLINE)]), (3, [(2, 2, 0)]), (0, [])])
    assert found.run_counts.tolist() == [37, 4, 3, 0]
    assert found.embeddings.tolist() == [656, 24, 12, 0]
    assert found.vision_tokens.tolist() == [656, 20, 12, 0]


def test_runs_that_nobody_could_list_are_counted() -> None:
    assert equal_lengths([(1, 1, OTHER), (2**31 - 1, 2, NEXT), (3, 1, 0)]) == [
        (4, 1),
        (2, 2**31 - 2),
        (3, 1),
    ]
