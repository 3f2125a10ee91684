"""Fixed: one square view whatever the picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.sized import images
from tests.workers.policies.videos import video
from workers.policies.fixed import Fixed


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9999), st.integers(1, 9999)), min_size=1, max_size=9))
def test_every_picture_costs_the_same(sizes: list[tuple[int, int]]) -> None:
    width, height = (np.array(side) for side in zip(*sizes, strict=True))
    sized = Fixed().size(images(width, height))
    assert set(sized.llm_tokens.tolist()) == {576}
    assert sized.resized_wh.tolist() == [[336, 336]] * len(sizes)
    assert sized.grid_thw.values.tolist() == [[1, 24, 24]] * len(sizes)


@pytest.mark.parametrize(
    ("policy", "tokens", "patches"),
    [(Fixed(image_size=384, patch_size=16), 576, 576), (Fixed(merge_size=2), 144, 576)],
)
def test_tokens_of_merged_patches(policy: Fixed, tokens: int, patches: int) -> None:
    sized = policy.size(images(np.array([100]), np.array([50])))
    assert sized.vision_tokens.tolist() == [tokens]
    assert sized.vit_patches.tolist() == [patches]


def test_frames_are_one_run() -> None:
    sized = Fixed(num_frames=4).size(video(100, 25.0))
    assert sized.frame_indices[0].tolist() == [0, 33, 66, 99]
    assert sized.runs.tolist() == [1]
    assert sized.grid_thw[0].tolist() == [[4, 24, 24]]
    assert sized.llm_tokens.tolist() == [4 * 576]
    assert sized.seconds_per_grid.tolist() == [1.0]


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 40))
def test_no_frame_twice(frames: int, most: int) -> None:
    indices = Fixed(num_frames=most).size(video(frames, 25.0)).frame_indices[0]
    assert len(set(indices.tolist())) == len(indices) == min(frames, most)


def test_refusals() -> None:
    assert Fixed().size(images(np.array([-3]), np.array([8]))).drop[0] == "bad_size"
    assert Fixed().size(video(9, 0.0)).drop[0] == "bad_frame_rate"


def test_smaller_halves_the_frames_and_ends() -> None:
    policy: Fixed | None = Fixed()
    frames = []
    while policy is not None:
        frames.append(policy.num_frames)
        policy = policy.smaller()
    assert frames == [8, 4, 2, 1]


def test_impossible_settings() -> None:
    with pytest.raises(ValidationError, match="multiple"):
        Fixed(image_size=337)
