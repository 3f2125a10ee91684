"""LLaVA-NeXT-Video: the middles of 32 frames, pooled; the RoPE factor that they need."""

import pytest
from pydantic import ValidationError

from tests.workers.policies.answers import (
    HUGE,
    REFUSED_ALWAYS,
    answer,
    mixed_answers,
    one,
    tokens_by_step,
)
from tests.workers.policies.videos import video
from workers.policies.llava_next import LlavaNext
from workers.policies.llava_next_video import LlavaNextVideo


def test_a_video_is_144_tokens_a_frame_without_newlines() -> None:
    row = answer(LlavaNextVideo(), video(3200, 25.0))
    assert (row["llm_tokens"], row["parts"]) == (32 * 144, [[1, 4608, 0]])
    assert (row["grid_thw"], row["merge"]) == ([[32, 24, 24]], 2)
    assert row["frame_indices"][:3] == [0, 103, 206]
    assert row["frame_indices"][-1] == 3199


@pytest.mark.parametrize(
    ("size", "resized", "box"),
    [
        ((1280, 720), [597, 336], [130, 0, 466, 336]),
        ((300, 701), [336, 785], [0, 224, 336, 560]),
        ((50, 50), [336, 336], [0, 0, 336, 336]),
    ],
)
def test_the_middle_square_of_a_frame_is_seen(
    size: tuple[int, int], resized: list[int], box: list[int]
) -> None:
    row = answer(LlavaNextVideo(), video(100, 25.0, wh=size))
    assert (row["resized_wh"], row["view_wh"], row["crops_ltrb"]) == (resized, resized, [box])


def test_frames_of_a_short_video_repeat() -> None:
    row = answer(LlavaNextVideo(num_frames=5), video(3, 25.0))
    assert row["frame_indices"] == [0, 0, 1, 1, 2]
    row = answer(LlavaNextVideo(num_frames=3), video(100, 25.0, (1.0, 2.0)))
    assert row["frame_indices"] == [25, 37, 50]
    assert row["seconds_per_grid"] == 0.5


@pytest.mark.parametrize(
    ("frames", "stride", "image_size", "factor"),
    [(32, 2, 336, 2), (16, 2, 336, 1), (32, 4, 336, 1), (64, 2, 336, 3), (32, 2, 224, 1)],
)
def test_rope_factor(frames: int, stride: int, image_size: int, factor: int) -> None:
    policy = LlavaNextVideo(num_frames=frames, mm_spatial_pool_stride=stride, image_size=image_size)
    assert policy.rope_scaling_factor == factor


@pytest.mark.parametrize("images_in_sample", [1, 2])
def test_pictures_are_those_of_llava_next(images_in_sample: int) -> None:
    media = one(640, 480, images_in_sample)
    ours, theirs = answer(LlavaNextVideo(), media), answer(LlavaNext(), media)
    assert {**ours, "variant": ""} == {**theirs, "variant": ""}
    ours = answer(LlavaNextVideo(variant="hf_5.23.0"), media)
    assert ours == answer(LlavaNext(variant="hf_5.23.0"), media)


def test_a_stride_that_leaves_a_rest_pools_no_whole_blocks() -> None:
    row = answer(LlavaNextVideo(mm_spatial_pool_stride=5), video(100, 25.0))
    assert (row["llm_tokens"], row["merge"]) == (32 * 16, 1)


def test_good_and_bad_media_in_one_column() -> None:
    found = mixed_answers(LlavaNextVideo())
    refused = {i: row["drop"] for i, row in enumerate(found) if row["drop"]}
    assert refused == {**REFUSED_ALWAYS, 12: "bad_clip"}


def test_a_sliver_of_a_video_is_refused_in_time() -> None:
    row = answer(LlavaNextVideo(), video(100, 25.0, wh=(HUGE, 1)))
    assert row["drop"] == "ratio_too_extreme"
    assert row["llm_tokens"] == 0
    assert answer(LlavaNextVideo(), video(100, 25.0, wh=(HUGE, 400)))["drop"] is None


def test_smaller_ends_with_one_frame() -> None:
    tokens = tokens_by_step(LlavaNextVideo(), video(100, 25.0))
    assert tokens[2:] == [144 * frames for frames in (32, 16, 8, 4, 2, 1)]
    tokens_by_step(LlavaNextVideo(), one(900, 900))


@pytest.mark.parametrize(
    "wrong", [{"mm_spatial_pool_stride": 25}, {"mm_spatial_pool_mode": "conv"}, {"num_frames": 0}]
)
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LlavaNextVideo.model_validate(wrong)
