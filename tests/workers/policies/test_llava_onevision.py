"""LLaVA-OneVision: features within a budget, frames, newline modes, the time instruction."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.workers.policies.answers import (
    REFUSED_ALWAYS,
    answer,
    check_crops_cover_once,
    check_sums,
    mixed_answers,
    one,
    steps,
    tokens_by_step,
)
from tests.workers.policies.videos import video
from workers.policies.llava_frames import Newlines, PoolMode
from workers.policies.llava_onevision import LlavaOneVision

HF = LlavaOneVision(variant="hf_5.23.0")
UNBOUNDED = LlavaOneVision(frames_upbound=0)
LLAVA_VIDEO = LlavaOneVision(stage="llava_video")


@pytest.mark.parametrize(
    ("size", "llm_tokens"),
    [
        ((224, 224), 1485),
        ((640, 480), 2929),
        ((800, 1300), 8073),
        ((1654, 2339), 7353),
        ((3840, 2160), 7317),
        ((10000, 10000), 7371),
        ((1152, 1380), 8765),
        ((1000, 31), 975),
        ((1, 10000), 783),
    ],
)
def test_published_sizes(size: tuple[int, int], llm_tokens: int) -> None:
    assert answer(LlavaOneVision(), one(*size))["llm_tokens"] == llm_tokens


def test_a_small_picture_is_shown_twice() -> None:
    row = answer(LlavaOneVision(), one(224, 224))
    assert row["parts"] == [[1, 729, 0], [27, 27, 2]]
    assert row["grid_thw"] == [[1, 27, 27]] * 2
    assert (row["crops_ltrb"], row["thumbnail"]) == ([], "first")


@settings(deadline=None)
@given(st.integers(1, 9000), st.integers(1, 9000), st.sampled_from([LlavaOneVision(), HF]))
def test_tiles_cover_the_canvas_once(width: int, height: int, policy: LlavaOneVision) -> None:
    row = answer(policy, one(width, height))
    check_crops_cover_once(row, 384)
    check_sums(row)
    assert 729 <= row["llm_tokens"] <= 729 + 1.21 * 9 * 729 + 6 * 27


def test_one_of_several_pictures_is_padded() -> None:
    row = answer(LlavaOneVision(), one(640, 480, images_in_sample=3))
    assert (row["llm_tokens"], row["parts"]) == (730, [[1, 729, 2]])
    assert (row["canvas_wh"], row["paste_xy"], row["pad_rgb"]) == ([640, 640], [0, 80], [127] * 3)


@pytest.mark.parametrize(
    ("newlines", "mode", "llm_tokens", "part"),
    [
        ("one_token", "bilinear", 32 * 196 + 1, [1, 6272, 2]),
        ("no_token", "bilinear", 32 * 196, [1, 6272, 0]),
        ("frame", "bilinear", 32 * 197, [32, 196, 2]),
        ("grid", "bilinear", 32 * 210, [448, 14, 2]),
        ("one_token", "average", 32 * 169 + 1, [1, 5408, 2]),
        ("grid", "max", 32 * 13 * 14, [416, 13, 2]),
    ],
)
def test_newlines_of_a_video(
    newlines: Newlines, mode: PoolMode, llm_tokens: int, part: list[int]
) -> None:
    policy = LlavaOneVision(mm_newline_position=newlines, mm_spatial_pool_mode=mode)
    row = answer(policy, video(3200, 25.0))
    assert (row["llm_tokens"], row["parts"]) == (llm_tokens, [part])
    assert row["grid_thw"] == [[32, 27, 27]]
    assert row["resized_wh"] == row["view_wh"] == [384, 384]


def test_frames_stand_a_second_apart_or_are_spread() -> None:
    row = answer(LlavaOneVision(), video(100, 30.0))
    assert (row["frame_indices"], row["seconds_per_grid"]) == ([0, 30, 60, 90], 1.0)
    row = answer(LlavaOneVision(frames_upbound=3), video(100, 30.0))
    assert row["frame_indices"] == [0, 49, 99]
    row = answer(LlavaOneVision(frames_upbound=3, force_sample=True), video(2, 30.0))
    assert row["frame_indices"] == [0, 0, 1]
    row = answer(LlavaOneVision(), video(1000, 30.0, (1.0, 3.0)))
    assert row["frame_indices"] == [30, 60, 90]
    assert answer(LlavaOneVision(), video(1, 30.0))["llm_tokens"] == 197


def test_a_rate_of_which_half_is_nothing_is_refused() -> None:
    row = answer(LlavaOneVision(), video(100, 0.5))
    assert row["drop"] == "bad_frame_rate"
    assert "0.5" in row["message"]
    assert (
        answer(LlavaOneVision(), video(100, 0.51))["frame_indices"] == list(range(0, 100, 1))
        or len(answer(LlavaOneVision(), video(100, 0.51))["frame_indices"]) == 32
    )


def test_a_video_without_bound_is_bounded() -> None:
    policy = LlavaOneVision(frames_upbound=0, force_sample=True)
    assert len(answer(policy, video(25_000, 25.0))["frame_indices"]) == 1000
    assert answer(policy, video(2**31 - 1, 25.0))["drop"] == "too_many_frames"
    assert answer(LlavaOneVision(), video(2**31 - 1, 25.0))["drop"] is None


def test_llava_video_tells_the_times_of_its_frames() -> None:
    row = answer(LlavaOneVision(stage="llava_video", frames_upbound=3), video(100, 30.0))
    assert row["llm_tokens"] == 3 * 210
    assert row["texts"] == (
        "",
        "\nThe video lasts for 3.33 seconds, and 3 frames are uniformly sampled from it. "
        "These frames are located at 0.00s,1.63s,3.30s."
        "Please answer the following questions related to this video.\n",
    )
    assert answer(LLAVA_VIDEO, one(640, 480))["texts"] == ()


def test_stages_set_defaults_that_a_recipe_can_override() -> None:
    assert (LLAVA_VIDEO.frames_upbound, LLAVA_VIDEO.mm_newline_position) == (64, "grid")
    big = LlavaOneVision(stage="llava_video", frames_upbound=32)
    assert (big.frames_upbound, big.force_sample) == (32, True)
    assert answer(LlavaOneVision(stage="mid"), one(5000, 5000))["canvas_wh"] == [768, 768]


@pytest.mark.parametrize("policy", [LlavaOneVision(), HF, LLAVA_VIDEO])
def test_good_and_bad_media_in_one_column(policy: LlavaOneVision) -> None:
    refused = {i: row["drop"] for i, row in enumerate(mixed_answers(policy)) if row["drop"]}
    assert refused == {**REFUSED_ALWAYS, 12: "bad_clip"}


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 12))
def test_no_step_costs_more(width: int, height: int, patches: int) -> None:
    tokens_by_step(LlavaOneVision(max_num_patches=patches), one(width, height))


@pytest.mark.parametrize(
    "policy", [LlavaOneVision(), LlavaOneVision(frames_upbound=0), LLAVA_VIDEO]
)
@pytest.mark.parametrize("frames", [1, 40, 9000])
def test_smaller_ends_with_one_frame(policy: LlavaOneVision, frames: int) -> None:
    tokens_by_step(policy, video(frames, 25.0))
    last = steps(policy)[-1]
    assert isinstance(last, LlavaOneVision)
    assert (last.max_num_patches, last.frames_upbound) == (1, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"grid_spec": "6x6"},
        {"grid_spec": "(6x6),...,(1x1)"},
        {"grid_spec": "(1x1),...,(40x1)"},
        {"grid_spec": "(0x1),...,(2x2)"},
        {"stage": "pretrain"},
        {"video_fps": 0},
        {"frames_upbound": -1},
    ],
)
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LlavaOneVision.model_validate(wrong)
