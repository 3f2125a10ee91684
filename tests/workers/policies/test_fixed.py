"""Fixed: one square view whatever the picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.sized import images
from tests.workers.policies.answers import answer, mixed_answers, one, steps, tokens_by_step, view
from tests.workers.policies.videos import video
from workers.policies.fixed import Fixed


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9999), st.integers(1, 9999)), min_size=1, max_size=9))
def test_every_picture_costs_the_same(sizes: list[tuple[int, int]]) -> None:
    width, height = (np.array(side) for side in zip(*sizes, strict=True))
    sized = Fixed().size(images(width, height))
    assert set(sized.llm_tokens.tolist()) == {576}
    assert sized.drawn.resized_wh.tolist() == [[336, 336]] * len(sizes)
    assert sized.grid_thw.values.tolist() == [[1, 24, 24]] * len(sizes)


@pytest.mark.parametrize(
    ("policy", "tokens", "patches"),
    [(Fixed(image_size=384, patch_size=16), 576, 576), (Fixed(merge_size=2), 144, 576)],
)
def test_tokens_of_merged_patches(policy: Fixed, tokens: int, patches: int) -> None:
    row = answer(policy, one(100, 50))
    assert (row["vision_tokens"], row["vit_patches"]) == (tokens, patches)


def test_frames_are_one_run() -> None:
    row = answer(Fixed(num_frames=4), video(100, 25.0))
    assert row["frame_indices"] == [0, 33, 66, 99]
    assert (row["runs"], row["parts"]) == (1, [[1, 4 * 576, 0]])
    assert row["grid_thw"] == [[4, 24, 24]]
    assert row["llm_tokens"] == 4 * 576
    assert row["seconds_per_grid"] == 1.0


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 40))
def test_no_frame_twice(frames: int, most: int) -> None:
    indices = answer(Fixed(num_frames=most), video(frames, 25.0))["frame_indices"]
    assert len(set(indices)) == len(indices) == min(frames, most)


def test_a_view_is_a_picture() -> None:
    assert answer(Fixed(), view(31, 77)) == answer(Fixed(), one(31, 77))


def test_a_mixed_column_equals_its_rows() -> None:
    drops = [row["drop"] for row in mixed_answers(Fixed())]
    assert drops[12] == "bad_clip"
    assert drops.count(None) == len(drops) - 5


def test_smaller_halves_the_frames_and_ends() -> None:
    assert [len(answer(step, video(99, 25.0))["frame_indices"]) for step in steps(Fixed())] == [
        8,
        4,
        2,
        1,
    ]
    assert tokens_by_step(Fixed(), one(5, 5)) == [576] * 4


def test_impossible_settings() -> None:
    with pytest.raises(ValidationError, match="multiple"):
        Fixed(image_size=337)
