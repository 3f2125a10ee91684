"""NVLM-D: InternVL's tiles with a tag before each, untiled frames, Megatron's smaller steps."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.sized import images
from tests.workers.policies.answers import answer, mixed_answers, one, steps, tokens_by_step, view
from tests.workers.policies.videos import video
from workers.policies.nvlm_d import NVLMD
from workers.policies.tiles import candidate_grids

SIDES = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("width", "height", "grid", "megatron"),
    [
        (224, 224, [1, 1], 261),
        (480, 640, [2, 3], 1827),
        (1300, 800, [3, 2], 1827),
        (3840, 2160, [2, 1], 783),
        (10000, 10000, [2, 2], 1305),
        (1000, 32, [6, 1], 1827),
        (10000, 1, [6, 1], 1827),
    ],
)
def test_published_sizes(width: int, height: int, grid: list[int], megatron: int) -> None:
    row = answer(NVLMD(), one(width, height))
    assert row["view_wh"] == [448 * side for side in grid]
    assert row["llm_tokens"] + 5 * row["runs"] == megatron


def test_a_tag_stands_before_each_view() -> None:
    assert answer(NVLMD(), one(3840, 2160))["texts"] == (
        "<Image><tile_1>",
        "<tile_2>",
        "<tile_global_thumbnail>",
        "</Image>",
    )
    assert answer(NVLMD(), one(224, 224))["texts"] == (
        "<Image><tile_global_thumbnail>",
        "</Image>",
    )
    # the published code numbers all views but the last, thumbnail or not
    without = answer(NVLMD(use_thumbnail=False), one(3840, 2160))
    assert without["texts"] == ("<Image><tile_1>", "<tile_global_thumbnail>", "</Image>")


@pytest.mark.parametrize(
    ("fields", "first", "last"),
    [
        ({}, "tile_1", "tile_global_thumbnail"),
        ({"tags": "yi"}, "tile_1", "tile_global"),
        ({"tags": "nemotron"}, "tile_01", "tile_global_thumbnail"),
        ({"max_num": 12}, "tile_01", "tile_global_thumbnail0"),
        ({"max_num": 10, "tags": "yi"}, "tile_01", "tile_global0"),
        ({"max_num": 12, "tags": "nemotron"}, "tile_01", "tile_global_thumbnail"),
        ({"max_num": 12, "tags": "llama3p1"}, "tile_01", "tile_global_thumbnail"),
        ({"max_num": 12, "tags": "huggingface"}, "tile_1", "tile_global_thumbnail"),
        ({"max_num": 2, "tag_tiles": 12}, "tile_01", "tile_global_thumbnail0"),
    ],
)
def test_tags_are_worded_for_the_vocabulary(fields: dict[str, Any], first: str, last: str) -> None:
    texts = answer(NVLMD.model_validate(fields), one(2000, 1000))["texts"]
    assert (texts[0], texts[-2]) == (f"<Image><{first}>", f"<{last}>")


def test_pictures_and_views_of_one_sample_share_the_tiles() -> None:
    views = [len(answer(NVLMD(), one(1600, 400, n))["grid_thw"]) for n in (1, 2, 6, 100)]
    assert views == [5, 4, 1, 1]
    assert answer(NVLMD(), view(1600, 400))["texts"][0] == "<Image><tile_1>"


def weighted_by_loop(width: int, height: int, grids: list[tuple[int, int]]) -> tuple[int, int]:
    """Megatron's loop, for one picture."""
    best, most, aspect = (1, 1), float("-inf"), width / height
    for columns, rows in grids:
        ratio = columns / rows
        held = min((columns * rows * 448 * 448) / (width * height), 0.6)
        score = held * min(ratio / aspect, aspect / ratio)
        if score > most:
            best, most = (columns, rows), score
    return best


@settings(deadline=None)
@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=20), st.integers(1, 12))
def test_a_column_of_sizes_takes_the_choice_of_the_weighted_loop(
    sizes: list[tuple[int, int]], most: int
) -> None:
    width, height = (np.array(side) for side in zip(*sizes, strict=True))
    sized = NVLMD(max_num=most, closest="area").size(images(width, height))
    expected = [weighted_by_loop(*size, candidate_grids(1, most)) for size in sizes]
    assert (sized.drawn.resized_wh // 448).tolist() == [list(grid) for grid in expected]


def test_a_large_picture_takes_more_tiles_by_area() -> None:
    assert answer(NVLMD(), one(1920, 1080))["view_wh"] == [2 * 448, 448]
    assert answer(NVLMD(closest="area"), one(1920, 1080))["view_wh"] == [3 * 448, 2 * 448]


def test_the_frames_of_a_video_are_one_run_without_tags() -> None:
    row = answer(NVLMD(num_frames=4), video(10, 25.0))
    assert row["frame_indices"] == [0, 3, 6, 9]
    assert row["view_wh"] == [448, 448]
    assert row["grid_thw"] == [[4, 32, 32]]
    assert (row["runs"], row["llm_tokens"]) == (1, 1024)
    assert row["texts"] == ("<img>", "</img>")
    assert answer(NVLMD(), video(1, 25.0))["frame_indices"] == [0]


@pytest.mark.parametrize("fields", [{}, {"closest": "area", "min_num": 2}])
def test_a_column_of_everything(fields: dict[str, Any]) -> None:
    assert sum(row["drop"] is None for row in mixed_answers(NVLMD.model_validate(fields))) >= 8


@pytest.mark.parametrize("closest", ["ratio", "area"])
def test_smaller_steps_are_megatrons_and_never_grow(closest: str) -> None:
    policy = NVLMD.model_validate({"max_num": 12, "closest": closest})
    tiles = [step.model_dump()["max_num"] for step in steps(policy)]
    assert tiles == [12, 8, 6, 4, 2] + [1] * 6
    for width, height in ((640, 480), (1000, 1000), (30, 4000), (5000, 3000)):
        assert tokens_by_step(policy, one(width, height))[-1] == 256
    assert tokens_by_step(policy, video(999, 25.0))[-1] == 256


def test_a_smaller_step_words_its_tags_as_before() -> None:
    step = NVLMD(max_num=12).smaller()
    assert step is not None
    assert answer(step, one(2000, 1000))["texts"][0] == "<Image><tile_01>"


@pytest.mark.parametrize(
    "wrong", [{"max_num": 13}, {"min_num": 7}, {"image_size": 450}, {"closest": "near"}]
)
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NVLMD.model_validate(wrong)
