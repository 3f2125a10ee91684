"""XComposer HD: tiles along the long side, white to whole tiles, the model's own global view."""

from typing import Any

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
from workers.policies.xcomposer_hd import Variant, XComposerHD

SIDES = st.integers(1, 20_000)
VARIANTS: list[Variant] = ["Image_transform", "HD_transform", "R560_HD18", "R560_HD4"]


def scale_by_loop(long: int, short: int, hd_num: int) -> int:
    """The reference's loop, for one picture."""
    scale = 1
    while scale * np.ceil(scale / (long / short)) <= hd_num:
        scale += 1
    return scale - 1


@pytest.mark.parametrize(
    ("variant", "resized", "paste", "canvas", "llm_tokens"),
    [
        ("Image_transform", [840, 1120], [0, 0], [1120, 1120], 2061),
        ("HD_transform", [1008, 1344], [0, 0], [1008, 1344], 1933),
        ("R560_HD4", [840, 1120], [140, 0], [1120, 1120], 2061),
    ],
)
def test_a_portrait_of_480_by_640(
    variant: Variant, resized: list[int], paste: list[int], canvas: list[int], llm_tokens: int
) -> None:
    row = answer(XComposerHD(variant=variant), one(480, 640))
    assert row["transposed"]
    assert row["resized_wh"] == resized
    assert row["paste_xy"] == paste
    assert row["canvas_wh"] == row["view_wh"] == canvas
    assert row["llm_tokens"] == llm_tokens
    assert row["pad_rgb"] == [255, 255, 255]
    assert row["resample"] == "bilinear"


def test_a_lying_picture_is_the_mirror_of_the_upright_one() -> None:
    flat, tall = (answer(XComposerHD(), one(*size)) for size in ((900, 333), (333, 900)))
    assert (flat["transposed"], tall["transposed"]) == (False, True)
    for name in ("resized_wh", "canvas_wh", "paste_xy", "view_wh"):
        assert flat[name] == tall[name][::-1]


def test_the_model_makes_the_global_view_and_writes_it_first() -> None:
    row = answer(XComposerHD(), one(1100, 500))
    assert row["canvas_wh"] == [1120, 560]
    assert (row["thumbnail"], row["thumbnail_of"]) == ("first", "model")
    assert row["thumbnail_wh"] == [560, 560]
    assert row["parts"] == [[20, 20, 2], [1, 0, 3], [20, 40, 2]]
    assert row["llm_tokens"] == (2 + 1) * 400 + 1 + (1 + 1) * 20
    assert row["grid_thw"] == [[1, 40, 40]] * 3
    assert row["merge"] == 2
    assert row["texts"] == ()


@settings(deadline=None)
@given(SIDES, SIDES, st.sampled_from(VARIANTS), st.integers(1, 60))
def test_tiles_of_the_loop_cover_the_canvas_once(
    width: int, height: int, variant: Variant, hd_num: int
) -> None:
    policy = XComposerHD(variant=variant, hd_num=hd_num)
    row = answer(policy, one(width, height))
    if row["drop"] is not None:
        assert row["drop"] == "empty_target"
        assert max(width, height) > policy.tile * min(width, height)
        return
    check_crops_cover_once(row, policy.tile)
    columns, rows = (side // policy.tile for side in row["canvas_wh"])
    long, short = max(width, height), min(width, height)
    most = scale_by_loop(long, short, hd_num)
    grown = {"Image_transform": 1.0, "R560_HD18": 1.5}.get(variant, np.inf)
    assert max(columns, rows) == min(most, np.ceil(long * grown / 560) if grown < 2 else most)
    assert columns * rows <= hd_num
    side = policy.tile // 28
    expected = (columns * rows + 1) * side**2 + 1 + (rows + 1) * side
    assert row["llm_tokens"] == expected


def test_a_frame_is_a_picture_of_one_tile() -> None:
    row = answer(XComposerHD(num_frames=3), video(100, 25.0))
    picture = answer(XComposerHD(hd_num=1), one(1280, 720))
    assert (row["runs"], row["llm_tokens"]) == (3, 3 * 841)
    assert row["grid_thw"] == picture["grid_thw"] * 3
    assert row["parts"] == picture["parts"]
    assert row["resized_wh"] == picture["resized_wh"] == [560, 315]


def test_a_height_that_rounds_to_nothing_is_refused() -> None:
    row = answer(XComposerHD(variant="HD_transform"), one(1, 10_000))
    assert row["drop"] == "empty_target"
    assert "1 x 10000" in row["message"]
    assert row["canvas_wh"] == [0, 0]
    assert answer(XComposerHD(), one(1, 10_000))["drop"] is None


def test_a_view_is_a_picture() -> None:
    assert answer(XComposerHD(), view(900, 700)) == answer(XComposerHD(), one(900, 700))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_mixed_column_equals_its_rows(variant: Variant) -> None:
    drops = [row["drop"] for row in mixed_answers(XComposerHD(variant=variant))]
    assert drops[12] == "bad_clip"
    assert drops[6] == drops[7] == "empty_target"
    assert drops.count(None) == len(drops) - 7


@settings(deadline=None)
@given(SIDES, SIDES, st.sampled_from(VARIANTS))
def test_smaller_never_grows(width: int, height: int, variant: Variant) -> None:
    least = {"HD_transform": 313}.get(variant, 841)
    tokens = tokens_by_step(XComposerHD(variant=variant, num_frames=1), one(width, height))
    assert tokens[-1] in (0, least)


def test_smaller_ends_with_one_frame() -> None:
    assert tokens_by_step(XComposerHD(), video(99, 25.0))[-6:] == [
        841 * frames for frames in (32, 16, 8, 4, 2, 1)
    ]


def test_tiles_default_to_those_of_the_variant() -> None:
    assert [XComposerHD(variant=name).hd_num for name in VARIANTS] == [25, 16, 18, 4]
    assert XComposerHD(variant="HD_transform").tile == 336


@pytest.mark.parametrize("wrong", [{"hd_num": 0}, {"variant": "hd"}, {"tile": 560}])
def test_impossible_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        XComposerHD.model_validate(wrong)
