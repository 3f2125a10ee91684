"""LLaVA-UHD: slices between separators, an overview last, the bounds of the third version."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.workers.policies.answers import answer, mixed_answers, one, tokens_by_step, view
from tests.workers.policies.videos import video
from workers.geometry import geometry
from workers.policies.llava_uhd import LlavaUHD
from workers.policies.uhd_slices import MAX_EDGE

SIDES = st.integers(1, 20_000)
MINICPM = LlavaUHD(max_slice_nums=9, scale_resolution=448, queries=64)
V3 = LlavaUHD(
    variant="v3",
    any_res=True,
    single=True,
    queries=None,
    scale_resolution=1560,
    patch_size=40,
    encoder_patch_size=10,
)


def test_slices_then_the_overview() -> None:
    row = answer(LlavaUHD(), one(480, 640))
    assert row["resized_wh"] == [560, 756]
    assert row["crops_ltrb"] == [
        [0, 0, 280, 378],
        [280, 0, 560, 378],
        [0, 378, 280, 756],
        [280, 378, 560, 756],
    ]
    assert (row["thumbnail"], row["thumbnail_of"]) == ("last", "source")
    assert row["thumbnail_wh"] == [280, 378]
    assert row["texts"] == ("", ",", "\n", ",", "\n", "")
    assert row["grid_thw"] == [[1, 27, 20]] * 5
    assert (row["runs"], row["llm_tokens"]) == (5, 720)
    assert (row["merge"], row["resample"]) == (1, "bicubic")


def test_a_picture_of_one_slice_is_enlarged_and_has_no_separator() -> None:
    row = answer(LlavaUHD(), one(100, 200))
    assert row["resized_wh"] == [224, 462]
    assert (row["crops_ltrb"], row["thumbnail"], row["texts"]) == ([], "none", ())
    assert (row["runs"], row["llm_tokens"]) == (1, 144)


def test_the_slices_of_minicpm() -> None:
    row = answer(MINICPM, one(10_000, 10_000))
    assert (row["resized_wh"], len(row["crops_ltrb"])) == ([1344, 1344], 9)
    assert row["texts"] == ("", *(",", ",", "\n") * 3, "")
    assert row["llm_tokens"] == 640


def test_extreme_ratios_have_long_overviews_but_not_in_the_third_version() -> None:
    assert answer(LlavaUHD(), one(1, 10_000))["resized_wh"] == [14, 33_600]
    third = LlavaUHD(variant="v3")
    assert answer(third, one(1, 10_000))["resized_wh"] == [14, 5120]


def test_one_token_for_each_block_of_the_third_version() -> None:
    row = answer(V3, one(4000, 3000))
    assert row["resized_wh"] == [1800, 1320]
    assert row["grid_thw"] == [[1, 132, 180]]
    assert (row["merge"], row["llm_tokens"]) == (4, 45 * 33)
    assert answer(V3, one(300, 300))["resized_wh"] == [480, 480]  # 420 is too small
    assert answer(V3, one(400, 400))["resized_wh"] == [560, 560]


def test_a_line_with_a_setting_of_the_third_version_is_answered_by_it() -> None:
    line: dict[str, object] = {"width": 1, "height": 10_000, "variant": "slice_image_minicpm"}
    lines = [line, line | {"any_res": False}, line | {"allow_upscale": False}]
    found = geometry(LlavaUHD(), lines)
    assert [row["variant"] for row in found] == ["v1", "v3", "v3"]
    assert [row["resized_wh"] for row in found] == [[14, 33_600], [14, 5120], [14, 5120]]


@settings(deadline=None)
@given(SIDES, SIDES, st.sampled_from([LlavaUHD(), MINICPM, LlavaUHD(variant="v3", any_res=True)]))
def test_slices_cover_the_canvas_once(width: int, height: int, policy: LlavaUHD) -> None:
    row = answer(policy, one(width, height))
    boxes = np.array(row["crops_ltrb"]).reshape(-1, 4)
    assert len(boxes) != 1
    assert len(boxes) <= policy.max_slice_nums
    assert row["runs"] == len(row["grid_thw"]) == len(boxes) + 1
    assert [text != "" for text in row["texts"][1:-1]] == [True] * len(boxes)
    sizes = boxes[:, 2:] - boxes[:, :2]
    assert ((sizes % 14 == 0) | (sizes == MAX_EDGE)).all()
    assert sizes.prod(axis=1).sum() == (np.prod(row["view_wh"]) if len(boxes) else 0)
    if len(boxes):
        assert boxes[-1, 2:].tolist() == row["view_wh"]
        assert sorted(boxes.tolist(), key=lambda box: (box[1], box[0])) == boxes.tolist()
        assert len(np.unique(boxes, axis=0)) == len(boxes)


def test_a_frame_is_an_overview_in_a_run_of_its_own() -> None:
    row = answer(LlavaUHD(num_frames=4), video(100, 25.0))
    assert row["frame_indices"] == [0, 33, 66, 99]
    assert row["resized_wh"] == [448, 252]
    assert row["grid_thw"] == [[4, 18, 32]]
    assert (row["runs"], row["llm_tokens"], row["texts"]) == (4, 576, ())


def test_a_view_is_a_picture() -> None:
    assert answer(LlavaUHD(), view(310, 770)) == answer(LlavaUHD(), one(310, 770))


@pytest.mark.parametrize("policy", [LlavaUHD(), MINICPM, V3])
def test_a_mixed_column_equals_its_rows(policy: LlavaUHD) -> None:
    drops = [row["drop"] for row in mixed_answers(policy)]
    assert drops[12] == "bad_clip"
    assert drops.count(None) == len(drops) - 5


@settings(deadline=None, max_examples=40)
@given(SIDES, SIDES, st.sampled_from([LlavaUHD(), MINICPM, V3]))
def test_smaller_never_grows_and_ends(width: int, height: int, policy: LlavaUHD) -> None:
    last = tokens_by_step(policy, one(width, height))[-1]
    assert last == policy.queries or policy.queries is None
    frames = tokens_by_step(policy, video(99, 25.0, wh=(width, height)))
    assert frames[-1] * 7 < frames[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"any_res": True},
        {"allow_upscale": False},
        {"variant": "v3", "queries": None},
        {"encoder_patch_size": 10},
        {"colour": 1},
    ],
)
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LlavaUHD.model_validate(wrong)
