"""POINTS1.5: the lenient rule for small sides, a line end after each picture, our videos."""

import pytest
from pydantic import ValidationError

from tests.workers.policies.answers import answer, mixed_answers, one, tokens_by_step, view
from tests.workers.policies.videos import video
from workers.policies.points1_5 import Points15


@pytest.mark.parametrize(
    ("width", "height", "resized", "llm_tokens"),
    [
        (480, 640, [476, 644], 393),
        (1654, 2339, [1652, 2352], 4958),
        (1, 1, [56, 56], 6),
        (10, 2000, [28, 812], 31),
    ],
)
def test_published_sizes(width: int, height: int, resized: list[int], llm_tokens: int) -> None:
    row = answer(Points15(), one(width, height))
    assert (row["drop"], row["resized_wh"], row["llm_tokens"]) == (None, resized, llm_tokens)
    assert answer(Points15(), view(width, height)) == row


def test_the_ratio_counts_only_where_both_sides_are_long_enough() -> None:
    assert answer(Points15(), one(28, 5601))["drop"] == "ratio_too_extreme"
    assert answer(Points15(), one(28, 5600))["drop"] is None
    assert answer(Points15(), one(1, 10_000))["drop"] is None


def test_a_target_without_area_keeps_its_geometry_beside_the_reason() -> None:
    row = answer(Points15(), one(20, 700_000))
    assert (row["drop"], row["resized_wh"][0]) == ("empty_target", 0)


def test_a_line_end_follows_each_picture_and_each_frame() -> None:
    assert answer(Points15(), one(640, 480))["texts"] == ("", "\n")
    row = answer(Points15(num_frames=3), video(100, 25.0))
    assert row["texts"] == ("", "\n", "\n", "\n")
    assert row["frame_indices"] == [0, 49, 99]
    assert row["resized_wh"] == [420, 224]
    assert row["grid_thw"] == [[1, 16, 30]] * 3
    assert (row["runs"], row["llm_tokens"]) == (3, 3 * (120 + 2))


def test_pictures_views_and_videos_mix() -> None:
    rows = mixed_answers(Points15())
    assert [rows[i]["drop"] for i in (3, 4, 8)] == [None, None, None]


def test_smaller_ends_and_never_grows() -> None:
    assert tokens_by_step(Points15(), one(3000, 2000))[-1] < 10
    assert tokens_by_step(Points15(), video(3000, 25.0))[-1] < 10


@pytest.mark.parametrize(
    "wrong",
    [{"max_pixels": 28}, {"factor": 30, "patch_size": 14}, {"variant": "hf"}, {"num_frames": 0}],
)
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Points15.model_validate(wrong)
