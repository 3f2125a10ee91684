"""DeepSeek-VL: one padded square, 576 tokens, truncated or rounded, and the hybrid's low view."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import DeepseekVLHybridImageProcessorPil, DeepseekVLImageProcessorPil

from tests.workers.policies.answers import answer, mixed_answers, one, tokens_by_step, view
from tests.workers.policies.videos import video
from workers.policies.deepseek_vl import DeepSeekVL

SIDES = st.integers(1, 20_000)


def test_the_published_code_truncates_where_the_port_rounds() -> None:
    # 384 * 427 / 640 = 256.2; 384 * 3 / 1000 = 1.152 is less than the least side
    assert answer(DeepSeekVL(), one(427, 640))["resized_wh"] == [256, 384]
    assert answer(DeepSeekVL(), one(3, 1000))["resized_wh"] == [14, 384]
    sizes = [
        answer(DeepSeekVL(variant=name), one(500, 333)) for name in ("deepseek_vl", "hf_5.23.0")
    ]
    assert [row["resized_wh"] for row in sizes] == [[384, 255], [384, 256]]  # of 255.74


def test_a_picture_lies_in_the_middle_of_the_mean_colour() -> None:
    row = answer(DeepSeekVL(), one(480, 640))
    assert row["canvas_wh"] == row["view_wh"] == [384, 384]
    assert row["paste_xy"] == [48, 0]
    assert row["pad_rgb"] == [122, 116, 104]
    assert answer(DeepSeekVL(image_mean=(0.5, 0.5, 0.5)), one(1, 2))["pad_rgb"] == [127] * 3
    assert answer(DeepSeekVL(image_mean=None), one(1, 2))["pad_rgb"] == [127] * 3


@settings(deadline=None)
@given(SIDES, SIDES, st.integers(1, 384))
def test_every_picture_costs_576_tokens(width: int, height: int, least: int) -> None:
    row = answer(DeepSeekVL(min_size=least), one(width, height))
    assert row["parts"] == [[24, 24, 0]]
    assert row["llm_tokens"] == row["vit_patches"] == 576
    assert row["grid_thw"] == [[1, 24, 24]]
    assert max(row["resized_wh"]) == 384
    assert min(row["resized_wh"]) >= least


def test_the_hybrid_tower_sees_the_picture_twice() -> None:
    row = answer(DeepSeekVL(image_size=1024), one(480, 640))
    assert (row["resized_wh"], row["canvas_wh"]) == ([768, 1024], [1024, 1024])
    assert row["grid_thw"] == [[1, 64, 64], [1, 24, 24]]
    assert (row["llm_tokens"], row["vit_patches"]) == (576, 4096 + 576)
    assert (row["thumbnail"], row["thumbnail_of"]) == ("last", "model")
    port = answer(DeepSeekVL(variant="hf_5.23.0_hybrid"), one(480, 640))
    assert (port["thumbnail"], port["thumbnail_of"]) == ("last", "canvas")
    assert port["thumbnail_wh"] == port["thumbnail_resized_wh"] == [384, 384]


@pytest.mark.parametrize(("width", "height"), [(97, 61), (61, 97), (50, 50), (333, 500), (3, 100)])
def test_the_ports_are_those_of_transformers(width: int, height: int) -> None:
    white = np.full((height, width, 3), 255, np.uint8)
    plain: dict[str, Any] = {"do_rescale": False, "do_normalize": False, "return_tensors": "np"}
    low = DeepseekVLImageProcessorPil()(white, **plain)
    both = DeepseekVLHybridImageProcessorPil()(white, **plain)
    views = {"hf_5.23.0": low["pixel_values"], "hf_5.23.0_hybrid": both["high_res_pixel_values"]}
    for variant, pixels in views.items():
        row = answer(DeepSeekVL.model_validate({"variant": variant}), one(width, height))
        red = pixels[0][0]
        assert list(red.shape[::-1]) == row["canvas_wh"]
        lit = np.argwhere(red == 255)[:, ::-1]
        assert lit.min(axis=0).tolist() == row["paste_xy"]
        assert (lit.max(axis=0) + 1 - lit.min(axis=0)).tolist() == row["resized_wh"]
    assert both["pixel_values"].shape[-2:] == (384, 384)


@pytest.mark.parametrize("size", [384, 1024])
def test_frames_are_one_group_for_each_tower(size: int) -> None:
    row = answer(DeepSeekVL.model_validate({"image_size": size, "num_frames": 3}), video(100, 25.0))
    assert row["runs"] == 1
    assert row["parts"] == [[72, 24, 0]]
    assert row["grid_thw"] == ([[3, 24, 24]] if size == 384 else [[3, 64, 64], [3, 24, 24]])
    assert row["llm_tokens"] == 3 * 576


def test_a_view_is_a_picture() -> None:
    assert answer(DeepSeekVL(), view(900, 700)) == answer(DeepSeekVL(), one(900, 700))


@pytest.mark.parametrize("variant", ["deepseek_vl", "hf_5.23.0", "hf_5.23.0_hybrid"])
def test_a_mixed_column_equals_its_rows(variant: str) -> None:
    drops = [row["drop"] for row in mixed_answers(DeepSeekVL.model_validate({"variant": variant}))]
    assert drops[12] == "bad_clip"
    assert drops.count(None) == len(drops) - 5


def test_smaller_ends_with_one_frame() -> None:
    assert tokens_by_step(DeepSeekVL(), video(99, 25.0)) == [576 * n for n in (8, 4, 2, 1)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_size": 512},
        {"variant": "hf_5.23.0", "image_size": 1024},
        {"variant": "hf_5.23.0_hybrid", "image_size": 384},
        {"variant": "hf"},
        {"min_size": 385},
        {"image_mean": [0.5, 0.5, 1.5]},
        {"image_mean": [0.5, 0.5, float("nan")]},
    ],
)
def test_impossible_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DeepSeekVL.model_validate(wrong)
