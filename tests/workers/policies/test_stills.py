"""What the families share that read pictures alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.policies import policy_kinds
from schemas.reasons import Reason
from schemas.sized import images
from schemas.texts import split_at_tokens
from tests.workers.policies.videos import video
from workers.policies.stills import StillPolicy
from workers.policies.verdicts import MAX_SIDE
from workers.text_config import FAMILIES, INNER_NAMES

STILLS = [kind for kind, model in policy_kinds().items() if issubclass(model, StillPolicy)]


def policy_of(kind: str) -> Any:
    return policy_kinds()[kind]()


def test_there_are_twenty_six() -> None:
    assert len(STILLS) == 26


@pytest.mark.parametrize("kind", STILLS)
def test_a_refused_picture_is_empty_and_its_neighbours_as_alone(kind: str) -> None:
    policy = policy_of(kind)
    width, height = np.array([640, 1, 0, 33]), np.array([480, 60000, 10, 47])
    together = policy.size(images(width, height)).to_table().to_pylist()
    assert together[2]["drop"] == Reason.BAD_SIZE
    assert (together[2]["grid_thw"], together[2]["llm_tokens"]) == ([], 0)
    for row in range(4):
        alone = policy.size(images(width[row : row + 1], height[row : row + 1])).to_table()
        assert alone.to_pylist() == [together[row]]


@pytest.mark.parametrize("kind", STILLS)
@settings(deadline=None, max_examples=40)
@given(st.integers(4, 5000), st.integers(4, 5000))
def test_tokens_patches_and_texts_agree(kind: str, width: int, height: int) -> None:
    policy = policy_of(kind)
    sized = policy.size(images(np.array([width]), np.array([height])))
    [row] = sized.to_table().to_pylist()
    if row["drop"] is not None:
        assert row["llm_tokens"] == row["vit_patches"] == 0
        return
    assert row["vit_patches"] == sum(t * h * w for t, h, w in row["grid_thw"])
    assert row["llm_tokens"] >= row["vision_tokens"] > 0
    texts = sized.layout.texts.of(0)
    assert len(texts) in (0, sized.layout.run_counts[0] + 1)
    width, height = row["view_wh"]
    for left, top, right, bottom in row["crops_ltrb"]:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    assert len(row["pieces"]) in (0, len(row["crops_ltrb"]))
    for across, down, x, y, canvas_width, canvas_height in row["pieces"]:
        assert 0 < across <= canvas_width - x
        assert 0 < down <= canvas_height - y


@pytest.mark.parametrize("kind", STILLS)
def test_smaller_steps_end_and_never_cost_more(kind: str) -> None:
    one, media = policy_of(kind), images(np.array([2000]), np.array([1500]))
    costs = []
    while one is not None:
        costs.append(int(one.size(media).vit_patches[0]))
        one = one.smaller()
        assert len(costs) < 100
    assert costs[-1] <= costs[0]
    assert len(costs) > 1 or kind in ("gemma3",)


@pytest.mark.parametrize("kind", STILLS)
def test_names_of_tokens_are_known(kind: str) -> None:
    policy = policy_of(kind)
    assert policy.family in FAMILIES
    sized = policy.size(images(np.array([1300, 200]), np.array([800, 3000])))
    for texts in sized.layout.texts.sets:
        for text in texts:
            assert set(split_at_tokens(text)[1::2]) <= {*INNER_NAMES, "<|image|>", "<image>"}


@pytest.mark.parametrize("kind", STILLS)
def test_any_size_is_read_or_refused(kind: str) -> None:
    sides = np.exp(np.random.default_rng(0).uniform(0, np.log(MAX_SIDE), (2, 500)))
    width, height = np.minimum(sides.astype(np.int64), MAX_SIDE)
    for row in policy_of(kind).size(images(width, height)).to_table().to_pylist():
        if row["drop"] is None:
            assert row["vision_tokens"] > 0
            assert min(map(min, row["grid_thw"])) > 0
            assert min(*row["resized_wh"], *row["view_wh"]) > 0


@pytest.mark.parametrize(
    ("kind", "chosen", "told"),
    [
        ("ernie4_5_vl", {"min_pixels": 100, "max_pixels": 99}, "max_pixels 99 < min_pixels 100"),
        ("lfm2_vl", {"min_tiles": 5, "max_tiles": 4}, "max_tiles 4 < min_tiles 5"),
        ("idefics3", {"image_size": 28, "patch_size": 64}, "without a token"),
        ("llama4", {"image_size": 28, "patch_size": 28}, "without a token"),
        ("lfm2_vl", {"tile_size": 32, "encoder_patch_size": 32}, "without a token"),
    ],
)
def test_settings_that_do_not_fit_are_refused(kind: str, chosen: dict[str, int], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        policy_kinds()[kind](**chosen)


def test_a_video_is_refused() -> None:
    media = video(30, 10.0)
    for kind in STILLS:
        [reason] = policy_of(kind).size(media).drop.tolist()
        assert reason == Reason.NO_VIDEO_RULE
