"""LLaVA-1.5: a padded square of 576 tokens, whatever the picture."""

import pytest
from pydantic import ValidationError

from tests.workers.policies.answers import (
    MIXED,
    REFUSED_ALWAYS,
    answer,
    mixed_answers,
    one,
    steps,
    tokens_by_step,
)
from tests.workers.policies.videos import video
from workers.policies.llava15 import Llava15


@pytest.mark.parametrize(
    ("size", "square", "place"),
    [((640, 480), 640, [0, 80]), ((97, 61), 97, [0, 18]), ((1, 4), 4, [1, 0]), ((9, 9), 9, [0, 0])],
)
def test_a_picture_lies_in_the_middle_of_a_square(
    size: tuple[int, int], square: int, place: list[int]
) -> None:
    row = answer(Llava15(), one(*size))
    assert row["resized_wh"] == list(size)
    assert (row["canvas_wh"], row["paste_xy"]) == ([square, square], place)
    assert (row["view_wh"], row["pad_rgb"]) == ([336, 336], [122, 116, 104])
    assert (row["llm_tokens"], row["parts"]) == (576, [[1, 576, 0]])
    assert row["grid_thw"] == [[1, 24, 24]]


def test_each_frame_is_such_a_view() -> None:
    row = answer(Llava15(num_frames=3), video(100, 25.0, wh=(1280, 720)))
    assert row["frame_indices"] == [0, 49, 99]
    assert row["llm_tokens"] == 3 * 576
    assert row["canvas_wh"] == [1280, 1280]
    assert answer(Llava15(), video(1, 25.0))["llm_tokens"] == 576


def test_good_and_bad_media_in_one_column() -> None:
    refused = {i: row["drop"] for i, row in enumerate(mixed_answers(Llava15())) if row["drop"]}
    assert refused == {**REFUSED_ALWAYS, 12: "bad_clip"}
    assert len(MIXED) > len(refused)


def test_smaller_halves_the_frames() -> None:
    assert tokens_by_step(Llava15(), video(100, 25.0)) == [8 * 576, 4 * 576, 2 * 576, 576]
    assert len(steps(Llava15(num_frames=1))) == 1


@pytest.mark.parametrize(
    "wrong",
    [{"patch_size": 0}, {"image_size": 5}, {"num_frames": 0}, {"background": (0, 0, 256)}],
)
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Llava15.model_validate(wrong)
