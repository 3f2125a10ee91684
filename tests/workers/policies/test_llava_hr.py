"""LLaVA-HR: one square, padded or cut out of the middle, and the fast view that the model makes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.workers.policies.answers import HUGE, answer, mixed_answers, one, tokens_by_step, view
from tests.workers.policies.videos import video
from workers.policies.llava_hr import LlavaHR

SIDES = st.integers(1, 20_000)
REJECTED = [224, 288, 320, 352, 416, 448, 480, 512, 544, 576, 608, 640, 672, 704, 736]


@pytest.mark.parametrize(
    ("side", "fast", "tokens"), [(768, 336, 576), (1024, 448, 1024), (1536, 672, 2304)]
)
def test_tokens_are_those_of_the_fast_view(side: int, fast: int, tokens: int) -> None:
    row = answer(LlavaHR(input_image_size=side), one(480, 640))
    assert row["view_wh"] == [side, side]
    assert row["thumbnail_wh"] == [fast, fast]
    assert (row["thumbnail"], row["thumbnail_of"]) == ("last", "model")
    assert row["grid_thw"] == [[1, side // 32, side // 32], [1, fast // 14, fast // 14]]
    assert row["llm_tokens"] == tokens
    assert row["parts"] == [[fast // 14, fast // 14, 0]]


@pytest.mark.parametrize("side", range(224, 1793, 32))
def test_the_code_does_not_take_all_multiples_of_32(side: int) -> None:
    if side in REJECTED:
        with pytest.raises(ValidationError, match=f"input_image_size {side}: .* neither divides"):
            LlavaHR(input_image_size=side)
    else:
        assert LlavaHR(input_image_size=side).slow_grid * 32 == side


def test_padding_comes_before_the_resize() -> None:
    row = answer(LlavaHR(), one(480, 640))
    assert row["resized_wh"] == [480, 640]
    assert row["canvas_wh"] == [640, 640]
    assert row["paste_xy"] == [80, 0]
    assert row["pad_rgb"] == [122, 116, 104]
    assert (row["view_wh"], row["crops_ltrb"]) == ([1024, 1024], [])


def test_without_padding_the_ends_are_cut_off() -> None:
    row = answer(LlavaHR(image_aspect_ratio="square"), one(480, 640))
    assert row["resized_wh"] == row["canvas_wh"] == row["view_wh"] == [1024, 1365]
    assert row["crops_ltrb"] == [[0, 170, 1024, 1194]]
    even = answer(LlavaHR(image_aspect_ratio="square"), one(99, 99))
    assert (even["view_wh"], even["crops_ltrb"]) == ([1024, 1024], [])


@settings(deadline=None)
@given(SIDES, SIDES)
def test_the_cut_is_a_square_in_the_middle(width: int, height: int) -> None:
    row = answer(LlavaHR(image_aspect_ratio="square"), one(width, height))
    assert min(row["resized_wh"]) == 1024
    left, top, right, bottom = (row["crops_ltrb"] or [[0, 0, 1024, 1024]])[0]
    assert (right - left, bottom - top) == (1024, 1024)
    assert row["resized_wh"][0] - right - left in (0, 1)
    assert row["resized_wh"][1] - bottom - top in (0, 1)


def test_a_strip_that_would_grow_too_long_is_refused() -> None:
    policy = LlavaHR(image_aspect_ratio="square")
    assert answer(policy, one(1, HUGE // 1024))["resized_wh"] == [1024, HUGE]
    row = answer(policy, one(1, HUGE // 1024 + 1))
    assert row["drop"] == "ratio_too_extreme"
    assert "1 x 65537" in row["message"]
    assert answer(LlavaHR(), one(1, HUGE))["drop"] is None


def test_frames_are_one_group_for_each_branch() -> None:
    row = answer(LlavaHR(num_frames=3), video(100, 25.0))
    assert row["runs"] == 1
    assert row["grid_thw"] == [[3, 32, 32], [3, 32, 32]]
    assert row["llm_tokens"] == 3 * 1024


def test_a_view_is_a_picture() -> None:
    assert answer(LlavaHR(), view(900, 700)) == answer(LlavaHR(), one(900, 700))


@pytest.mark.parametrize(("ratio", "refused"), [("pad", 5), ("square", 7)])
def test_a_mixed_column_equals_its_rows(ratio: str, refused: int) -> None:
    policy = LlavaHR.model_validate({"image_aspect_ratio": ratio})
    drops = [row["drop"] for row in mixed_answers(policy)]
    assert drops[12] == "bad_clip"
    assert drops.count(None) == len(drops) - refused


def test_smaller_ends_with_one_frame() -> None:
    assert tokens_by_step(LlavaHR(), video(99, 25.0)) == [1024 * n for n in (8, 4, 2, 1)]


@pytest.mark.parametrize(
    "wrong", [{"input_image_size": 1000}, {"image_aspect_ratio": "anyres"}, {"patch_size": 14}]
)
def test_impossible_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LlavaHR.model_validate(wrong)
