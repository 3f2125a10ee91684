"""Qwen2-VL: budgets, steps of 28 pixels, typed refusals, frames in exact arithmetic."""

from fractions import Fraction
from itertools import pairwise, takewhile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.sized import Media, Sized, images
from tests.workers.policies.videos import video
from workers.policies.qwen2_vl import Qwen2VL
from workers.policies.smart_resize import Variant
from workers.policies.spacing import spread

SIDES = st.integers(1, 20_000)
VARIANTS: list[Variant] = ["qwen_vl_utils", "hf_5.23.0", "hf_4.57.1", "hf_4.45.0"]


def one(width: int, height: int) -> Media:
    return images(np.array([width]), np.array([height]))


def only(sized: Sized) -> dict[str, object]:
    """The single row as Python values."""
    rows: list[dict[str, object]] = sized.to_table().to_pylist()
    assert len(rows) == 1
    return rows[0]


@pytest.mark.parametrize(
    ("width", "height", "resized", "llm_tokens"),
    [
        (224, 224, [224, 224], 66),
        (640, 480, [644, 476], 393),
        (800, 1300, [812, 1288], 1336),
        (1654, 2339, [1652, 2352], 4958),
        (3840, 2160, [3836, 2156], 10551),
        (10000, 10000, [3556, 3556], 16131),
        (1000, 31, [1008, 28], 38),
    ],
)
def test_published_sizes(width: int, height: int, resized: list[int], llm_tokens: int) -> None:
    row = only(Qwen2VL().size(one(width, height)))
    assert row["resized_wh"] == row["canvas_wh"] == resized
    assert row["llm_tokens"] == llm_tokens
    assert row["variant"] == "qwen_vl_utils"
    assert row["drop"] is None


def test_halves_round_to_even() -> None:
    row = only(Qwen2VL(min_pixels=1).size(one(42, 70)))
    assert row["resized_wh"] == [56, 56]


def test_variants_part_where_a_side_rounds_to_zero() -> None:
    sizes = {name: only(Qwen2VL(variant=name).size(one(10, 2000))) for name in VARIANTS}
    assert sizes["qwen_vl_utils"]["llm_tokens"] == 73
    assert sizes["hf_5.23.0"]["llm_tokens"] == sizes["hf_4.57.1"]["llm_tokens"] == 31
    assert sizes["hf_4.45.0"]["drop"] == "too_small"


def test_a_target_without_area_keeps_its_geometry_beside_the_reason() -> None:
    tight = 64 * 784
    row = only(Qwen2VL(max_pixels=tight).size(one(20, 4000)))
    assert (row["drop"], row["resized_wh"]) == ("empty_target", [0, 3164])
    assert "0 x 3164" in str(row["message"])
    over = only(Qwen2VL(max_pixels=tight, variant="hf_5.23.0").size(one(20, 4000)))
    assert (over["drop"], over["resized_wh"]) == (None, [28, 3164])


@pytest.mark.parametrize(
    ("media", "reason"),
    [
        (one(0, 8), "bad_size"),
        (one(8, -1), "bad_size"),
        (one(2**40, 8), "bad_size"),
        (one(201, 1), "ratio_too_extreme"),
        (one(200, 1), None),
        (video(0, 25.0), "too_few_frames"),
        (video(1, 25.0), "too_few_frames"),
        (video(100, 0.0), "bad_frame_rate"),
        (video(100, np.nan), "bad_frame_rate"),
        (video(100, np.inf), "bad_frame_rate"),
        (video(100, 25.0, (3.0, 2.0)), "bad_clip"),
        (video(100, 25.0, (9.0, np.inf)), "bad_clip"),
        (video(100, 25.0, (-1.0, 2.0)), None),
    ],
)
def test_refusals(media: Media, reason: str | None) -> None:
    sized = Qwen2VL().size(media)
    row = only(sized)
    assert row["drop"] == reason
    assert (row["message"] is None) == (reason is None)
    if reason:
        assert row["llm_tokens"] == row["vit_patches"] == row["runs"] == 0
        assert row["grid_thw"] == row["frame_indices"] == []


def test_bounds_of_a_frame_that_cross_are_over_budget() -> None:
    row = only(Qwen2VL(video_max_pixels=50176).size(video(100, 25.0)))
    assert row["drop"] == "over_budget"
    assert "50176" in str(row["message"])


@settings(deadline=None)
@given(SIDES, SIDES, st.sampled_from(VARIANTS))
def test_pictures_stay_in_bounds(width: int, height: int, variant: Variant) -> None:
    policy = Qwen2VL(variant=variant, max_pixels=1280 * 784)
    row = only(policy.size(one(width, height)))
    if max(width, height) > 200 * min(width, height) or (variant == "hf_4.45.0" and row["drop"]):
        assert row["drop"] in ("ratio_too_extreme", "too_small")
        return
    assert row["drop"] is None
    resized = row["resized_wh"]
    assert isinstance(resized, list)
    assert all(side % 28 == 0 and side >= 28 for side in resized)
    assert policy.min_pixels <= resized[0] * resized[1] <= policy.max_pixels
    assert row["vision_tokens"] == resized[0] * resized[1] // 784
    assert row["llm_tokens"] == resized[0] * resized[1] // 784 + 2


@settings(deadline=None)
@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=20), st.sampled_from(VARIANTS))
def test_a_column_equals_its_rows(sizes: list[tuple[int, int]], variant: Variant) -> None:
    policy = Qwen2VL(variant=variant)
    width, height = (np.array(side) for side in zip(*sizes, strict=True))
    together = policy.size(images(width, height)).to_table().to_pylist()
    assert together == [only(policy.size(one(*size))) for size in sizes]


def test_pictures_and_videos_mix() -> None:
    policy = Qwen2VL(variant="hf_4.45.0")
    media = [one(640, 480), video(100, 25.0), one(0, 1), video(77, 30.0, (0.5, 2.0)), one(8, 8)]
    names = Media.__dataclass_fields__
    columns = {name: np.concatenate([getattr(part, name) for part in media]) for name in names}
    together = policy.size(Media(**columns)).to_table().to_pylist()
    assert together == [only(policy.size(part)) for part in media]
    assert [row["drop"] for row in together] == [None, None, "bad_size", None, "too_small"]


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 100_000), st.integers(2, 768))
def test_frames_are_rounded_fractions(first: int, span: int, count: int) -> None:
    exact = [round(first + Fraction(i * span, count - 1)) for i in range(count)]
    assert spread(first, first + span, count).tolist() == exact


@settings(deadline=None)
@given(st.integers(2, 5000), st.floats(0.2, 120), st.integers(4, 64))
def test_videos_take_an_even_number_of_frames(frames: int, fps: float, most: int) -> None:
    row = only(Qwen2VL(max_frames=most).size(video(frames, fps)))
    indices = row["frame_indices"]
    assert isinstance(indices, list)
    assert len(indices) % 2 == 0
    assert 2 <= len(indices) <= min(most, frames)
    assert (indices[0], indices[-1]) == (0, frames - 1)
    assert all(a < b for a, b in pairwise(indices))
    expected = 2 * frames / (len(indices) * fps)
    assert row["seconds_per_grid"] == pytest.approx(expected)


def test_smaller_ends_and_never_grows() -> None:
    steps = [Qwen2VL()]
    while (step := steps[-1].smaller()) is not None:
        steps.append(Qwen2VL.model_validate(step.model_dump()))
        assert len(steps) < 100
    for media in (one(3000, 2000), video(3000, 25.0)):
        tokens = [int(policy.size(media).llm_tokens[0]) for policy in steps]
        assert tokens == sorted(tokens, reverse=True)
        assert list(takewhile(lambda t: t > 100, tokens)) != tokens
    assert steps[-1].max_frames == 4


def test_defaults_are_tokens_of_the_patch_size() -> None:
    assert (Qwen2VL().min_pixels, Qwen2VL().max_pixels) == (3136, 12845056)
    larger = Qwen2VL(patch_size=16)
    assert (larger.min_pixels, larger.max_pixels) == (4096, 16777216)
    assert (larger.video_min_pixels, larger.total_pixels) == (131072, 117964800)
    assert Qwen2VL.model_validate(larger.model_dump()) == larger


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_pixels": 28},
        {"patch_size": 0},
        {"fps": 0},
        {"fps": float("nan")},
        {"resized_width": 28},
        {"variant": "hf"},
        {"colour": 1},
    ],
)
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Qwen2VL.model_validate(wrong)
