"""Token drop: the smallest draws stay, a function of medium, seed and epoch alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpack.draws import key_of, reseeded, uniform
from patchpack.token_drop import _smallest, kept_of_all, kept_patches

SHA = "a50f3f3e7e1c3a96" + "0" * 48


def test_draws_are_those_of_the_first_release() -> None:
    """A change of these changes every pack with random draws: it needs a new policy VERSION."""
    keys = np.array([0, 1, 2**64 - 1], np.uint64)
    assert uniform(keys, 7, 2).tolist() == [
        0.2926433306793348,
        0.33608479528845014,
        0.27454123769149474,
    ]
    assert reseeded(7, 1) == 0x27E8AC81E7BC3B89
    assert key_of(SHA) == 0xA50F3F3E7E1C3A96
    assert kept_patches(SHA, 12, 5, seed=3).tolist() == [2, 3, 6, 7, 11]
    assert kept_patches(SHA, 12, 5, seed=3, epoch=1).tolist() == [3, 4, 7, 8, 10]


def test_the_digest_and_its_key_are_the_same_medium() -> None:
    by_digest = kept_patches(SHA, 500, 100, seed=1, epoch=2)
    assert by_digest.tolist() == kept_patches(key_of(SHA), 500, 100, seed=1, epoch=2).tolist()


@given(
    st.lists(
        st.tuples(st.integers(0, 2**64 - 1), st.integers(1, 300), st.floats(0, 1)), max_size=9
    ),
    st.integers(),
    st.integers(0, 99),
)
def test_many_media_at_once_are_each_as_alone(
    media: list[tuple[int, int, float]], seed: int, epoch: int
) -> None:
    kept = [int(share * patches) for _, patches, share in media]
    alone = [
        kept_patches(key, patches, count, seed, epoch)
        for (key, patches, _), count in zip(media, kept, strict=True)
    ]
    for one, count, (_, patches, _) in zip(alone, kept, media, strict=True):
        assert len(set(one.tolist())) == len(one) == count
        assert one.tolist() == sorted(one.tolist())
        assert all(0 <= patch < patches for patch in one.tolist())
    keys = np.array([key for key, _, _ in media], np.uint64)
    counts = np.array([patches for _, patches, _ in media], np.int64)
    together = kept_of_all(keys, counts, np.array(kept, np.int64), seed, epoch)
    assert together.tolist() == [patch for one in alone for patch in one.tolist()]


def test_more_media_than_a_block_holds() -> None:
    keys = np.arange(5000, dtype=np.uint64)
    patches = np.full(5000, 100)
    together = kept_of_all(keys, patches, np.full(5000, 10), 1).reshape(5000, 10)
    for medium in (0, 2047, 2048, 4999):
        assert together[medium].tolist() == kept_patches(medium, 100, 10, 1).tolist()


def test_epochs_and_media_share_no_more_than_chance() -> None:
    first, second = (set(kept_patches(SHA, 1000, 500, 0, epoch).tolist()) for epoch in (0, 1))
    assert 200 < len(first & second) < 300
    counts = np.zeros(100)
    for key in range(2000):
        counts[kept_patches(key, 100, 25, 0)] += 1
    assert 420 < counts.min() < counts.max() < 580


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=1), st.data())
def test_of_equal_draws_the_first_patch_stays(drawn: list[list[int]], data: st.DataObject) -> None:
    kept = [data.draw(st.integers(0, len(one))) for one in drawn]
    stays = _smallest(
        np.array([value for one in drawn for value in one], np.uint64),
        np.array([len(one) for one in drawn]),
        np.array(kept),
    )
    expected = []
    for one, count in zip(drawn, kept, strict=True):
        ranked = sorted(range(len(one)), key=lambda patch: (one[patch], patch))
        expected += [patch in ranked[:count] for patch in range(len(one))]
    assert stays.tolist() == expected


def test_more_than_all_patches_cannot_stay() -> None:
    with pytest.raises(ValueError, match="5 patches cannot stay of 4"):
        kept_patches(SHA, 4, 5, seed=0)
