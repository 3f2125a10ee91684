"""DeepSeek-VL2: the canvas that keeps the most, grey around the picture, one tile among many."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.workers.policies.answers import (
    answer,
    check_crops_cover_once,
    mixed_answers,
    one,
    tokens_by_step,
    view,
)
from tests.workers.policies.videos import video
from workers.policies.deepseek_vl2 import DeepSeekVL2

SIDES = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("width", "height", "canvas", "llm_tokens"),
    [
        (224, 224, [384, 384], 421),
        (640, 480, [768, 768], 1023),
        (800, 1300, [768, 1536], 1835),
        (1654, 2339, [1152, 1152], 2017),
        (3840, 2160, [1536, 768], 1807),
        (10000, 10000, [1152, 1152], 2017),
    ],
)
def test_published_sizes(width: int, height: int, canvas: list[int], llm_tokens: int) -> None:
    row = answer(DeepSeekVL2(), one(width, height))
    assert row["canvas_wh"] == canvas
    assert row["llm_tokens"] == llm_tokens
    assert row["drop"] is None


def test_the_global_view_is_padded_like_the_canvas() -> None:
    row = answer(DeepSeekVL2(), one(97, 61))
    assert row["canvas_wh"] == row["thumbnail_wh"] == [384, 384]
    assert row["resized_wh"] == row["thumbnail_resized_wh"] == [384, 241]
    assert row["paste_xy"] == row["thumbnail_xy"] == [0, 72]  # of 71.5, half to even
    assert row["pad_rgb"] == [127, 127, 127]
    assert (row["thumbnail"], row["thumbnail_of"]) == ("first", "source")
    assert row["parts"] == [[14, 14, 2], [1, 0, 3], [14, 14, 2]]
    assert row["grid_thw"] == [[1, 27, 27]] * 2


@pytest.mark.parametrize(("images", "views"), [(1, 5), (2, 5), (3, 2), (50, 2)])
def test_more_than_two_pictures_are_not_cut(images: int, views: int) -> None:
    row = answer(DeepSeekVL2(), one(480, 640, images))
    assert len(row["grid_thw"]) == views
    assert answer(DeepSeekVL2(cropping=False), one(480, 640))["llm_tokens"] == 421


@settings(deadline=None)
@given(SIDES, SIDES)
def test_tiles_cover_the_canvas_once_and_hold_the_picture(width: int, height: int) -> None:
    row = answer(DeepSeekVL2(), one(width, height))
    check_crops_cover_once(row, 384)
    (left, top), (wide, high), canvas = row["paste_xy"], row["resized_wh"], row["canvas_wh"]
    assert wide == canvas[0] or high == canvas[1]
    assert left >= 0
    assert top >= 0
    assert left + wide <= canvas[0]
    assert top + high <= canvas[1]
    columns, rows = (side // 384 for side in canvas)
    assert columns * rows <= 9
    assert row["llm_tokens"] == 14 * 15 + 1 + 14 * rows * (14 * columns + 1)


def test_what_has_no_pixels_left_keeps_its_geometry_beside_the_reason() -> None:
    row = answer(DeepSeekVL2(), one(10_000, 1))
    assert (row["drop"], row["llm_tokens"]) == ("empty_target", 421)
    assert row["resized_wh"] == [384, 0]
    globe = answer(DeepSeekVL2(), one(1, 1000))
    assert (globe["drop"], globe["resized_wh"]) == ("empty_target", [1, 1152])
    assert globe["thumbnail_resized_wh"] == [0, 384]
    assert "0 x 384" in globe["message"]
    assert answer(DeepSeekVL2(), one(1, 767))["drop"] is None


def test_a_frame_is_a_picture_among_many() -> None:
    row = answer(DeepSeekVL2(num_frames=3), video(100, 25.0))
    picture = answer(DeepSeekVL2(), one(1280, 720, 3))
    assert (row["runs"], row["llm_tokens"]) == (3, 3 * 421)
    assert row["grid_thw"] == picture["grid_thw"] * 3
    same = ("parts", "resized_wh", "paste_xy", "canvas_wh", "thumbnail_resized_wh")
    assert [row[name] for name in same] == [picture[name] for name in same]


def test_a_view_is_a_picture() -> None:
    assert answer(DeepSeekVL2(), view(900, 700)) == answer(DeepSeekVL2(), one(900, 700))


def test_a_mixed_column_equals_its_rows() -> None:
    drops = [row["drop"] for row in mixed_answers(DeepSeekVL2())]
    assert drops[12] == "bad_clip"
    assert drops[6] == drops[7] == "empty_target"
    assert drops.count(None) == len(drops) - 7


@settings(deadline=None)
@given(SIDES, SIDES)
def test_smaller_never_grows(width: int, height: int) -> None:
    assert tokens_by_step(DeepSeekVL2(), one(width, height))[-1] == 421


def test_smaller_ends_with_one_frame() -> None:
    assert tokens_by_step(DeepSeekVL2(), video(99, 25.0))[-4:] == [421 * n for n in (8, 4, 2, 1)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"candidate_resolutions": []},
        {"candidate_resolutions": [[768, 384]]},
        {"candidate_resolutions": [[384, 384], [400, 384]]},
        {"candidate_resolutions": [[8, 8]]},
        {"image_size": 384},
    ],
)
def test_impossible_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DeepSeekVL2.model_validate(wrong)
