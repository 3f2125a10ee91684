"""DocOwl1.5: the grid of nearest shape, named views of 256 features and a learned end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.workers.policies.answers import (
    answer,
    check_crops_cover_once,
    mixed_answers,
    one,
    steps,
    tokens_by_step,
    view,
)
from tests.workers.policies.videos import video
from workers.policies.anchors import ANCHORS, SMALLER, Anchors
from workers.policies.docowl1_5 import DocOwl15

SIDES = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("width", "height", "llm_tokens"),
    [
        (224, 224, 514),
        (640, 480, 1799),
        (800, 1300, 1799),
        (1654, 2339, 1799),
        (3840, 2160, 2313),
        (10000, 10000, 2570),
        (1000, 31, 2570),
        (1, 10000, 2570),
    ],
)
def test_published_sizes(width: int, height: int, llm_tokens: int) -> None:
    row = answer(DocOwl15(), one(width, height))
    assert row["llm_tokens"] == llm_tokens == 257 * row["runs"]
    assert row["vision_tokens"] == 256 * row["runs"]
    assert row["resample"] == "bicubic"


def test_each_view_is_named_before_it_stands() -> None:
    row = answer(DocOwl15(), one(800, 400))
    assert row["resized_wh"] == [896, 448]
    assert (row["thumbnail"], row["thumbnail_of"]) == ("first", "source")
    assert row["thumbnail_wh"] == [448, 448]
    assert row["parts"] == [[1, 256, 3]]
    assert row["texts"] == ("<global_img>", "<crop_img_row0_col0>", "<crop_img_row0_col1>", "")
    tall = answer(DocOwl15(add_global_img=False), one(400, 800))
    assert tall["texts"] == ("<crop_img_row0_col0>", "<crop_img_row1_col0>", "")
    assert (tall["thumbnail"], tall["llm_tokens"]) == ("none", 514)
    assert answer(DocOwl15(add_textual_crop_indicator=False), one(800, 400))["texts"] == ()


def test_ten_rows_need_the_larger_list() -> None:
    assert answer(DocOwl15(), one(100, 1000))["resized_wh"] == [448, 9 * 448]
    assert answer(DocOwl15(anchors="grid_20"), one(100, 1000))["resized_wh"] == [448, 10 * 448]


@pytest.mark.parametrize(("larger", "smaller"), SMALLER.items())
def test_a_list_holds_the_next_and_only_larger_grids_beside_it(
    larger: Anchors, smaller: Anchors
) -> None:
    kept, more = set(ANCHORS[smaller]), set(ANCHORS[larger]) - set(ANCHORS[smaller])
    assert kept < set(ANCHORS[larger])
    assert min(rows * columns for rows, columns in more) > max(
        rows * columns for rows, columns in kept
    )


@settings(deadline=None)
@given(SIDES, SIDES, st.booleans())
def test_crops_cover_the_picture_once(width: int, height: int, globe: bool) -> None:
    row = answer(DocOwl15(add_global_img=globe), one(width, height))
    check_crops_cover_once(row, 448)
    columns, rows = (side // 448 for side in row["resized_wh"])
    assert (rows, columns) in ANCHORS["grid_9"]
    assert row["runs"] == rows * columns + globe == len(row["texts"]) - 1
    assert row["grid_thw"] == [[1, 32, 32]] * row["runs"]


def test_a_frame_is_a_global_view() -> None:
    row = answer(DocOwl15(num_frames=3), video(100, 25.0))
    assert row["frame_indices"] == [0, 49, 99]
    assert row["texts"] == ("<global_img>", "<global_img>", "<global_img>", "")
    assert (row["runs"], row["llm_tokens"]) == (3, 771)
    assert row["resized_wh"] == [448, 448]
    assert (row["crops_ltrb"], row["thumbnail"]) == ([], "none")


def test_a_view_is_a_picture() -> None:
    assert answer(DocOwl15(), view(900, 700)) == answer(DocOwl15(), one(900, 700))


def test_a_mixed_column_equals_its_rows() -> None:
    drops = [row["drop"] for row in mixed_answers(DocOwl15())]
    assert drops[12] == "bad_clip"
    assert drops.count(None) == len(drops) - 5


@settings(deadline=None)
@given(SIDES, SIDES)
def test_smaller_never_grows(width: int, height: int) -> None:
    tokens = tokens_by_step(DocOwl15(anchors="grid_20"), one(width, height))
    assert tokens[3:] == [514] * 4


def test_smaller_ends_with_one_frame() -> None:
    assert tokens_by_step(DocOwl15(), video(99, 25.0))[-4:] == [2056, 1028, 514, 257]
    assert len(steps(DocOwl15(anchors="grid_3x3", num_frames=1))) == 1


@pytest.mark.parametrize("wrong", [{"image_size": 462}, {"anchors": "grid_5"}, {"colour": 1}])
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DocOwl15.model_validate(wrong)
