"""Oryx: two views of a picture, compressed frames, the names of its scripts, the paper's rules."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.sized import Media
from tests.workers.policies.answers import answer, mixed_answers, one, tokens_by_step, view
from tests.workers.policies.videos import video
from workers.geometry import geometry
from workers.policies.oryx import Oryx

SIDES = st.integers(1, 20_000)
BEGIN = SEPARATOR = END = [1, 0, 3]
NEWLINE = 2


@pytest.mark.parametrize(
    ("width", "height", "llm_tokens"),
    [
        (224, 224, 813),
        (640, 480, 1773),
        (800, 1300, 4653),
        (1654, 2339, 9825),
        (3840, 2160, 9885),
        (10000, 10000, 9533),
        (1000, 31, 1059),
    ],
)
def test_published_sizes(width: int, height: int, llm_tokens: int) -> None:
    assert answer(Oryx(), one(width, height))["llm_tokens"] == llm_tokens


def test_a_picture_is_a_low_view_and_a_high_one() -> None:
    row = answer(Oryx(), one(640, 480))
    assert row["resized_wh"] == row["view_wh"] == [640, 480]
    assert (row["thumbnail"], row["thumbnail_of"]) == ("first", "canvas")
    assert row["thumbnail_wh"] == [416, 320]  # 443.4 x 332.6, floored to 32
    assert row["grid_thw"] == [[1, 20, 26], [1, 30, 40]]
    assert row["parts"] == [BEGIN, [20, 26, NEWLINE], SEPARATOR, [30, 40, NEWLINE], END]
    assert row["llm_tokens"] == 20 * 27 + 30 * 41 + 3
    assert (row["merge"], row["runs"]) == (1, 1)


def test_a_small_side_is_enlarged_first() -> None:
    row = answer(Oryx(), one(16, 96))
    assert (row["via_wh"], row["resized_wh"]) == ([[64, 384]], [64, 384])
    assert answer(Oryx(), one(96, 31))["via_wh"] == [[198, 64]]
    assert answer(Oryx(), one(32, 96))["via_wh"] == []
    assert answer(Oryx(), video(3, 25.0, wh=(31, 40)))["via_wh"] == []


def test_a_picture_may_be_padded_with_grey_to_the_multiple() -> None:
    row = answer(Oryx(pad2stride=True), one(674, 1354))
    assert (row["resized_wh"], row["canvas_wh"]) == ([674, 1354], [704, 1376])
    assert (row["paste_xy"], row["pad_rgb"]) == ([15, 11], [127, 127, 127])
    large = answer(Oryx(pad2stride=True), one(3600, 800))
    assert large["resized_wh"] == large["canvas_wh"] == [3232, 704]


def test_thin_pictures_have_no_size() -> None:
    assert answer(Oryx(), one(1, 10000))["drop"] == "empty_target"
    # only the low view is empty: 32 x 4704 would become 31.7 x 4655
    row = answer(Oryx(), one(4704, 32))
    assert row["drop"] == "empty_target"
    assert "4704 x 32 pixels, and that to" in row["message"]


def test_64_frames_of_a_video_are_one_run() -> None:
    row = answer(Oryx(), video(1000, 25.0))
    assert row["llm_tokens"] == 13506
    assert row["frame_indices"] == [int(999 * i / 63) for i in range(64)]
    assert row["grid_thw"] == [[64, 20, 40]]
    assert (row["resized_wh"], row["merge"]) == ([640, 320], 2)
    assert row["parts"] == [BEGIN, *[[10, 20, NEWLINE], SEPARATOR] * 64, END]
    assert row["thumbnail"] == "none"
    assert row["seconds_per_grid"] == 999 / 63 / 25
    assert answer(Oryx(), video(64, 25.0))["frame_indices"] == list(range(64))


def test_a_view_is_a_video_of_one_frame() -> None:
    seen, played = answer(Oryx(), view(1280, 720)), answer(Oryx(), video(1, 25.0))
    assert seen["parts"] == [BEGIN, [10, 20, NEWLINE], SEPARATOR, END]
    differing = {name for name, value in seen.items() if value != played[name]}
    assert differing == {"frame_indices", "seconds_per_grid"}


def test_a_long_video_has_16_patches_a_token() -> None:
    row = answer(Oryx(video="video_long", cap_drawn=200), video(1000, 25.0))
    assert (row["resized_wh"], row["grid_thw"]) == ([640, 256], [[200, 16, 40]])
    assert row["llm_tokens"] == 2 + 200 * (4 * (10 + 1) + 1)
    at_64 = answer(Oryx(video="video_long", resize_multiple=64), video(10, 25.0))
    assert at_64["grid_thw"] == [[10, 20, 40]]


def test_a_long_video_draws_192_to_256_frames_as_its_key_says() -> None:
    def counts(seed: int) -> list[int]:
        policy = Oryx(video="video_long", seed=seed)
        keyed = (
            Media(**{**vars(video(9999, 25.0)), "key": np.array([key], np.uint64)})
            for key in range(1500)
        )
        sized = policy.size(Media.concatenate(list(keyed)))
        found: list[int] = sized.frame_indices.counts.tolist()
        return found

    first = counts(0)
    assert set(first) == set(range(192, 257))
    assert first == counts(0) != counts(1)


def test_the_paper_takes_a_frame_a_second() -> None:
    short = answer(Oryx(rules="paper"), video(95, 10.0))
    assert short["frame_indices"] == list(range(0, 95, 10))
    assert short["seconds_per_grid"] == 1.0
    long = answer(Oryx(rules="paper"), video(10_000, 10.0))
    assert long["frame_indices"] == [10 * int(999 * i / 63) for i in range(64)]
    slow = answer(Oryx(rules="paper"), video(5, 0.5))
    assert slow["frame_indices"] == [0, 1, 2, 3, 4]


def test_the_paper_compresses_several_pictures_of_a_sample() -> None:
    alone, shared = (answer(Oryx(rules="paper"), one(640, 480, n)) for n in (1, 2))
    assert alone == answer(Oryx(), one(640, 480))
    assert shared["parts"] == [BEGIN, [10, 13, NEWLINE], SEPARATOR, [15, 20, NEWLINE], END]
    assert (shared["merge"], shared["vit_patches"]) == (2, alone["vit_patches"])
    assert answer(Oryx(), one(640, 480, 2)) == alone


def test_the_environment_of_the_reference_is_read() -> None:
    env = {"HIGHRES_BASE": "1024x32", "VIDEO_RESIZE": "0x128", "MAXRES": "768", "PAD2STRIDE": "0"}
    read = Oryx.model_validate({"env": env, "maxres": 99})
    assert read == Oryx(highres_base=1024, video_step=128, maxres=768, pad2stride=True)
    line = {"width": 640, "height": 480, "params": {"env": {"LOWRES_RESIZE": "192x32"}}}
    assert geometry(Oryx(), [line])[0]["thumbnail_wh"] == [192, 160]


def test_names_of_the_reference_choose_the_compression() -> None:
    frame = {"width": 1280, "height": 720, "frames": 2, "fps": 25.0}
    tokens = [
        geometry(Oryx(), [frame | {"params": params}])[0]["llm_tokens"]
        for params in ({}, {"compression": 16}, {"mode": "video_long_on_64", "resize_multiple": 64})
    ]
    assert tokens == [2 + 2 * 211, 2 + 2 * 45, 2 + 2 * 56]


@settings(deadline=None)
@given(SIDES, SIDES, st.booleans(), st.booleans())
def test_views_hold_whole_tokens(width: int, height: int, pad: bool, still: bool) -> None:
    policy, media = Oryx(pad2stride=pad), one(width, height) if still else view(width, height)
    row = answer(policy, media)
    if row["drop"] is not None:
        assert row["drop"] == "empty_target"
        assert max(width, height) >= 19 * min(width, height)
        return
    step, area = (32, 1536**2) if still else (64, 480**2)
    columns, rows = row["canvas_wh"]
    assert columns % step == rows % step == 0
    # padding adds less than a step to each side of a picture within the area
    assert columns * rows <= area or (pad and width * height <= area)
    assert row["grid_thw"][-1] == [1, rows // 16, columns // 16]
    assert len(row["grid_thw"]) == 1 + still


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rules": "paper", "pad2stride": True},
        {"video": "video_long", "minres": 448, "maxres": 768},
        {"highres_base": 1024, "video_base": 256},
    ],
)
def test_a_column_of_everything(fields: dict[str, Any]) -> None:
    assert sum(row["drop"] is None for row in mixed_answers(Oryx.model_validate(fields))) >= 5


@settings(deadline=None, max_examples=40)
@given(SIDES, SIDES, st.booleans(), st.sampled_from([0, 1024]))
def test_smaller_pictures_never_cost_more(width: int, height: int, pad: bool, base: int) -> None:
    tokens_by_step(Oryx(pad2stride=pad, highres_base=base), one(width, height))


def test_smaller_steps_end_at_small_pictures_and_few_frames() -> None:
    assert tokens_by_step(Oryx(), one(4000, 3000))[-1] < 2500
    assert tokens_by_step(Oryx(), video(9999, 25.0))[-1] == 2 + 4 * 211
    drawn = tokens_by_step(Oryx(video="video_long"), video(9999, 25.0))[-1]
    assert drawn in [2 + 45 * frames for frames in range(12, 17)]
    assert tokens_by_step(Oryx(video="video_long", cap_drawn=99), video(99, 25.0))[-1] == 2 + 6 * 45


@pytest.mark.parametrize(
    "wrong",
    [
        {"minres": 2000},
        {"video_maxres": 100},
        {"highres_step": 24},
        {"rules": "paper", "lowres_step": 16},
        {"video": "video_long", "resize_multiple": 32},
        {"video": "film"},
        {"env": {"LOWRES_RESIZE": "384"}},
        {"env": {"SPEED": "1"}},
        {"env": "MAXRES=3"},
    ],
)
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Oryx.model_validate(wrong)
