"""LLaVA-NeXT-Interleave: 730 tokens for each of several pictures, views and frames."""

import pytest

from schemas.sized import Media
from tests.workers.policies.answers import (
    REFUSED_ALWAYS,
    answer,
    mixed_answers,
    one,
    tokens_by_step,
    view,
)
from tests.workers.policies.videos import video
from workers.policies.llava_next import LlavaNext
from workers.policies.llava_next_interleave import LlavaNextInterleave

POLICY = LlavaNextInterleave()


def test_one_of_several_pictures_is_squeezed_or_padded() -> None:
    row = answer(POLICY, one(640, 480, images_in_sample=4))
    assert (row["llm_tokens"], row["parts"]) == (730, [[1, 729, 2]])
    assert row["resized_wh"] == row["canvas_wh"] == row["view_wh"] == [384, 384]
    padded = answer(LlavaNextInterleave(image_aspect_ratio="pad"), one(640, 480, 4))
    assert (padded["llm_tokens"], padded["canvas_wh"]) == (730, [640, 640])
    assert (padded["view_wh"], padded["pad_rgb"]) == ([384, 384], [127, 127, 127])


def test_views_of_a_scene_are_pictures() -> None:
    views = Media(**{**vars(view(640, 480)), "images": one(1, 1, 8).images})
    assert answer(POLICY, views) == answer(POLICY, one(640, 480, 8))


def test_a_single_picture_is_tiled_as_in_llava_next() -> None:
    ours, theirs = answer(POLICY, one(640, 480)), answer(LlavaNext(image_size=384), one(640, 480))
    assert {**ours, "variant": ""} == {**theirs, "variant": ""}


def test_frames_stand_in_whole_steps() -> None:
    row = answer(POLICY, video(100, 25.0))
    assert row["frame_indices"] == list(range(0, 96, 6))
    assert (row["llm_tokens"], row["parts"]) == (16 * 730, [[16, 729, 2]])
    assert answer(POLICY, video(16, 25.0))["frame_indices"] == list(range(16))
    clip = answer(LlavaNextInterleave(num_frames=2), video(100, 25.0, (1.0, 2.0)))
    assert clip["frame_indices"] == [25, 38]


@pytest.mark.parametrize("frames", [1, 15])
def test_too_short_a_video_is_refused(frames: int) -> None:
    row = answer(POLICY, video(frames, 25.0))
    assert row["drop"] == "too_few_frames"
    assert "at least 16" in row["message"]


def test_good_and_bad_media_in_one_column() -> None:
    refused = {i: row["drop"] for i, row in enumerate(mixed_answers(POLICY)) if row["drop"]}
    assert refused == {**REFUSED_ALWAYS, 4: "too_few_frames", 12: "bad_clip"}


def test_smaller_ends_with_one_frame() -> None:
    tokens = tokens_by_step(POLICY, video(100, 25.0))
    assert tokens[2:] == [730 * frames for frames in (16, 8, 4, 2, 1)]
    assert tokens_by_step(POLICY, one(900, 900))[:3] == [3699, 1513, 1513]
