"""POINTS 1.0: overlapping windows of a picture of kept ratio, and a thumbnail of them all."""

import numpy as np
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
from workers.policies.points1_0 import Points10

SIDES = st.integers(1, 20_000)
TILED = Points10(variant="dynamic_high_resolution")


def test_windows_overlap_along_the_longer_side() -> None:
    row = answer(Points10(), one(480, 640))
    assert row["resized_wh"] == row["view_wh"] == [672, 896]
    assert row["crops_ltrb"] == [
        [0, 0, 336, 336],
        [336, 0, 672, 336],
        [0, 280, 336, 616],
        [336, 280, 672, 616],
        [0, 560, 336, 896],
        [336, 560, 672, 896],
    ]
    assert (row["thumbnail"], row["thumbnail_of"]) == ("last", "canvas")
    assert row["thumbnail_wh"] == [336, 336]
    assert row["grid_thw"] == [[1, 24, 24]] * 7
    assert row["llm_tokens"] == row["vision_tokens"] == 7 * 144
    assert (row["runs"], row["resample"]) == (1, "bilinear")


def test_even_a_single_window_has_a_thumbnail() -> None:
    row = answer(Points10(), one(336, 336))
    assert row["crops_ltrb"] == [[0, 0, 336, 336]]
    assert row["llm_tokens"] == 288


def test_two_windows_at_one_place_are_one() -> None:
    row = answer(Points10(max_splits=5), one(1409, 1408))
    assert row["crops_ltrb"] == [[0, 0, 336, 336]]


def test_a_long_picture_is_squeezed_first_or_refused() -> None:
    row = answer(Points10(), one(10_000, 100))
    assert row["via_wh"] == [[800, 100]]
    assert row["resized_wh"] == [2688, 336]
    assert answer(Points10(), one(100, 10_000))["via_wh"] == [[100, 800]]
    strict = Points10(do_resize=False)
    assert answer(strict, one(10_000, 100))["drop"] == "ratio_too_extreme"
    assert "1/8" in answer(strict, one(10_000, 100))["message"]
    assert answer(strict, one(800, 100))["drop"] is None
    assert answer(strict, video(9, 25.0, wh=(10_000, 100)))["drop"] is None
    assert answer(TILED, one(10_000, 100))["via_wh"] == []


@settings(deadline=None)
@given(SIDES, SIDES, st.integers(1, 20))
def test_windows_see_all_but_a_few_last_pixels(width: int, height: int, most: int) -> None:
    row = answer(Points10(max_splits=most), one(width, height))
    boxes = np.array(row["crops_ltrb"])
    assert 1 <= len(boxes) <= most
    assert (boxes[:, 2:] - boxes[:, :2] == 336).all()
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= row["view_wh"]).all()
    for axis in (0, 1):
        starts = np.unique(boxes[:, axis])
        assert starts[0] == 0
        assert (np.diff(starts) <= 336).all()
        assert row["view_wh"][axis] - (starts[-1] + 336) < len(starts)
    within = row["via_wh"][0] if row["via_wh"] else [width, height]
    stretch = np.log(row["resized_wh"]) - np.log(within)
    assert abs(stretch[0] - stretch[1]) <= 1 / 335  # nothing but the rounding of a side


@settings(deadline=None)
@given(SIDES, SIDES)
def test_tiles_of_the_other_variant_cover_the_canvas_once(width: int, height: int) -> None:
    row = answer(TILED, one(width, height))
    if row["view_wh"] == [336, 336]:
        assert row["crops_ltrb"] == [[0, 0, 336, 336]]
    else:
        check_crops_cover_once(row, 336)
    assert row["thumbnail_of"] == "source"
    assert len(row["crops_ltrb"]) <= 8
    assert row["llm_tokens"] == 144 * (len(row["crops_ltrb"]) + 1)


def test_a_frame_is_one_square_view() -> None:
    row = answer(Points10(num_frames=4), video(100, 25.0))
    assert row["frame_indices"] == [0, 33, 66, 99]
    assert row["resized_wh"] == [336, 336]
    assert row["grid_thw"] == [[4, 24, 24]]
    assert (row["runs"], row["llm_tokens"]) == (1, 4 * 144)
    assert (row["crops_ltrb"], row["thumbnail"]) == ([], "none")


def test_a_view_is_a_picture() -> None:
    assert answer(Points10(), view(31, 77)) == answer(Points10(), one(31, 77))


@pytest.mark.parametrize("policy", [Points10(), Points10(do_resize=False), TILED])
def test_a_mixed_column_equals_its_rows(policy: Points10) -> None:
    drops = [row["drop"] for row in mixed_answers(policy)]
    assert drops[12] == "bad_clip"
    extreme = ["ratio_too_extreme", None][policy.do_resize]
    assert (drops[5], drops[6], drops[7]) == (extreme,) * 3


@settings(deadline=None, max_examples=40)
@given(SIDES, SIDES, st.sampled_from([Points10(), TILED]))
def test_smaller_never_grows_and_ends(width: int, height: int, policy: Points10) -> None:
    assert tokens_by_step(policy, one(width, height))[-1] == 288


def test_smaller_ends_with_one_frame() -> None:
    assert tokens_by_step(Points10(), video(99, 25.0))[-1] == 144


@pytest.mark.parametrize(
    "wrong", [{"max_splits": 0}, {"image_size": 337}, {"patch_size": 15}, {"colour": 1}]
)
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Points10.model_validate(wrong)
