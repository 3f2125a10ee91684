"""LLaVA-NeXT: tiles after the whole picture, newlines, and what several pictures become."""

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
    tokens_by_step,
    view,
)
from tests.workers.policies.videos import video
from workers.policies.llava_next import LlavaNext

HF = LlavaNext(variant="hf_5.23.0")
SIGLIP = LlavaNext(image_size=384)


@pytest.mark.parametrize(
    ("size", "llm_tokens"),
    [
        ((224, 224), 1176),
        ((640, 480), 2340),
        ((800, 1300), 2064),
        ((1654, 2339), 2256),
        ((3840, 2160), 1948),
        ((10000, 10000), 2928),
        ((1000, 31), 722),
        ((1, 10000), 624),
        ((28, 1), 576),
    ],
)
def test_published_sizes(size: tuple[int, int], llm_tokens: int) -> None:
    assert answer(LlavaNext(), one(*size))["llm_tokens"] == llm_tokens


def test_a_photograph_is_four_tiles_after_the_whole() -> None:
    row = answer(LlavaNext(), one(640, 480))
    assert (row["canvas_wh"], row["resized_wh"], row["paste_xy"]) == (
        [672, 672],
        [672, 504],
        [0, 84],
    )
    assert (row["pad_rgb"], row["thumbnail"], row["thumbnail_of"]) == ([0, 0, 0], "first", "source")
    assert row["parts"] == [[1, 576, 0], [36, 48, 2]]
    assert row["grid_thw"] == [[1, 24, 24]] * 5


@settings(deadline=None)
@given(st.integers(1, 9000), st.integers(1, 9000), st.sampled_from([LlavaNext(), HF, SIGLIP]))
def test_tiles_cover_the_canvas_once(width: int, height: int, policy: LlavaNext) -> None:
    row = answer(policy, one(width, height))
    check_crops_cover_once(row, policy.image_size)
    check_sums(row)
    least = policy.feat_side**2
    assert least <= row["llm_tokens"] <= least * 5 + policy.feat_side * 2


def test_transformers_reads_the_canvases_transposed() -> None:
    assert answer(LlavaNext(), one(224, 224))["canvas_wh"] == [336, 672]
    assert answer(HF, one(224, 224))["canvas_wh"] == [672, 336]
    assert (LlavaNext().alpha, HF.alpha) == ("drop", "white")


def test_flat_merge_keeps_all_tokens_of_all_views() -> None:
    row = answer(LlavaNext(mm_patch_merge_type="flat"), one(640, 480))
    assert (row["llm_tokens"], row["parts"]) == (5 * 576, [[1, 2880, 0]])


def test_several_pictures_are_padded_but_not_by_transformers() -> None:
    row = answer(LlavaNext(), one(640, 480, images_in_sample=2))
    assert (row["llm_tokens"], row["canvas_wh"], row["view_wh"]) == (577, [640, 640], [336, 336])
    assert (row["parts"], row["pad_rgb"]) == ([[1, 576, 2]], [122, 116, 104])
    row = answer(SIGLIP, one(640, 480, images_in_sample=2))
    assert (row["llm_tokens"], row["pad_rgb"]) == (730, [127, 127, 127])
    assert answer(HF, one(640, 480, images_in_sample=2)) == answer(HF, one(640, 480))


def test_a_view_of_a_scene_is_a_picture() -> None:
    assert answer(LlavaNext(), view(640, 480)) == answer(LlavaNext(), one(640, 480))


def test_frames_are_like_several_pictures() -> None:
    row = answer(LlavaNext(num_frames=4), video(100, 25.0))
    assert (row["llm_tokens"], row["parts"]) == (4 * 577, [[4, 576, 2]])
    assert (row["grid_thw"], row["frame_indices"]) == ([[4, 24, 24]], [0, 33, 66, 99])
    assert row["crops_ltrb"] == []


@pytest.mark.parametrize("policy", [LlavaNext(), HF, LlavaNext(mm_patch_merge_type="flat")])
def test_good_and_bad_media_in_one_column(policy: LlavaNext) -> None:
    refused = {i: row["drop"] for i, row in enumerate(mixed_answers(policy)) if row["drop"]}
    assert refused == {**REFUSED_ALWAYS, 12: "bad_clip"}


def test_smaller_drops_the_largest_canvases_then_frames() -> None:
    assert tokens_by_step(LlavaNext(), one(640, 480))[:3] == [2340, 1368, 1368]
    assert tokens_by_step(LlavaNext(), video(100, 25.0))[2:] == [8 * 577, 4 * 577, 2 * 577, 577]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 9000), st.integers(1, 9000), st.sampled_from([LlavaNext(), HF, SIGLIP]))
def test_no_step_costs_more(width: int, height: int, policy: LlavaNext) -> None:
    tokens_by_step(policy, one(width, height))


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_size": -1},
        {"image_grid_pinpoints": []},
        {"image_grid_pinpoints": [[336, 500]]},
        {"image_size": 384, "image_grid_pinpoints": [[336, 672]]},
        {"mm_patch_merge_type": "spatial"},
        {"colour": 1},
    ],
)
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LlavaNext.model_validate(wrong)
