"""InternVL: the nearest grid, frames of evaluation and training between names, typed refusals."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.sized import Media, images
from tests.workers.policies.answers import answer, mixed_answers, one, tokens_by_step, view
from tests.workers.policies.videos import video
from workers.policies.internvl import InternVL
from workers.policies.internvl_frames import MOST
from workers.policies.tiles import candidate_grids

SIDES = st.integers(1, 20_000)


def keyed(media: Media, key: int) -> Media:
    """The medium with the 64 bits that its draws start from."""
    return Media(**{**vars(media), "key": np.array([key], np.uint64)})


def frames_of(policy: InternVL, media: Media) -> list[int]:
    row = answer(policy, media)
    assert row["drop"] is None, row["message"]
    indices: list[int] = row["frame_indices"]
    assert row["runs"] == len(indices) == len(row["grid_thw"])
    return indices


@pytest.mark.parametrize(
    ("width", "height", "resized", "llm_tokens"),
    [
        (224, 224, [448, 448], 258),
        (640, 480, [1792, 1344], 3330),
        (800, 1300, [896, 1344], 1794),
        (1654, 2339, [896, 1344], 1794),
        (3840, 2160, [1792, 896], 2306),
        (10000, 10000, [1344, 1344], 2562),
        (1000, 31, [5376, 448], 3330),
        (1, 10000, [448, 5376], 3330),
    ],
)
def test_published_sizes(width: int, height: int, resized: list[int], llm_tokens: int) -> None:
    row = answer(InternVL(), one(width, height))
    assert row["resized_wh"] == row["view_wh"] == resized
    assert row["llm_tokens"] == llm_tokens


def test_forty_tiles_of_a_page() -> None:
    row = answer(InternVL(max_num=40), one(800, 1300))
    assert row["canvas_wh"] == [2240, 3584]
    assert row["llm_tokens"] == 10498


def test_twelve_tiles_have_35_grids_of_29_ratios() -> None:
    grids = candidate_grids(1, 12)
    assert len(grids) == len(set(grids)) == 35
    assert len({columns / rows for columns, rows in grids}) == 29
    assert grids == sorted(grids, key=lambda grid: (grid[0] * grid[1], grid[0]))


def chosen_by_loop(width: int, height: int, grids: list[tuple[int, int]]) -> tuple[int, int]:
    """The reference's loop, for one picture."""
    best, least = (1, 1), float("inf")
    for columns, rows in grids:
        distance = abs(width / height - columns / rows)
        tie = distance == least and width * height > 0.5 * 448 * 448 * columns * rows
        if distance < least or tie:
            best, least = (columns, rows), distance
    return best


@settings(deadline=None)
@given(
    st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=20),
    st.integers(1, 4),
    st.integers(4, 40),
)
def test_a_column_of_sizes_takes_the_choice_of_the_loop(
    sizes: list[tuple[int, int]], least: int, most: int
) -> None:
    width, height = (np.array(side) for side in zip(*sizes, strict=True))
    sized = InternVL(min_num=least, max_num=most).size(images(width, height))
    grids = candidate_grids(least, most)
    expected = [chosen_by_loop(*size, grids) for size in sizes]
    assert (sized.drawn.resized_wh // 448).tolist() == [list(grid) for grid in expected]


def test_pictures_and_views_of_one_sample_share_the_tiles() -> None:
    views = [len(answer(InternVL(), one(1600, 400, n))["grid_thw"]) for n in (1, 3, 12, 100)]
    assert views == [5, 5, 1, 1]
    assert len(answer(InternVL(), view(1600, 400))["grid_thw"]) == 5


def test_a_video_is_one_run_a_frame() -> None:
    row = answer(InternVL(num_segments=4), video(100, 25.0))
    assert row["frame_indices"] == [12, 37, 62, 86]
    assert row["seconds_per_grid"] == 99 / 4 / 25
    assert (row["runs"], row["vision_tokens"], row["llm_tokens"]) == (4, 1024, 1032)
    assert row["grid_thw"] == [[1, 32, 32]] * 4
    assert row["texts"] == ("Frame1: ", "\nFrame2: ", "\nFrame3: ", "\nFrame4: ", "\n")
    trained = answer(InternVL(num_segments=2, frame_name="Frame-"), video(100, 25.0))
    assert trained["texts"] == ("Frame-1: ", "\nFrame-2: ", "\n")


def test_tiles_of_a_frame_hold_for_all_frames() -> None:
    row = answer(InternVL(num_segments=4, video_max_num=6), video(100, 25.0))
    assert len(row["crops_ltrb"]) == 2
    assert len(row["grid_thw"]) == 4 * (2 + 1)


@settings(deadline=None)
@given(st.integers(1, 10_000), st.floats(0.2, 120), st.floats(-10, 500), st.floats(-10, 500))
def test_frames_lie_in_the_video(frames: int, fps: float, start: float, end: float) -> None:
    row = answer(InternVL(num_segments=8), video(frames, fps, (start, end)))
    if row["drop"] is not None:
        assert row["drop"] == "bad_clip"
        assert start > end or end < 0 or round(start * fps) >= frames - 1
    else:
        assert len(row["frame_indices"]) == 8
        assert min(row["frame_indices"]) >= 0
        assert max(row["frame_indices"]) < frames


def test_the_settings_tell_how_frames_are_chosen() -> None:
    assert InternVL().sampling == "segments"
    assert InternVL(num_frames=8).sampling == "middle"
    assert InternVL(sample_fps=1.0).sampling == "fps"
    assert InternVL(sample_fps=1.0, num_frames=8, sampling="rand").sampling == "rand"


def test_training_takes_the_middles_and_repeats_the_last_frame() -> None:
    assert frames_of(InternVL(num_frames=4), video(100, 25.0)) == [12, 37, 62, 87]
    assert frames_of(InternVL(num_frames=5), video(3, 25.0)) == [0, 1, 2, 2, 2]
    # 4 s to 8 s of 25 frames a second
    clipped = frames_of(InternVL(num_frames=4), video(300, 25.0, (4.0, 8.0)))
    assert clipped == [112, 137, 162, 187]


def test_training_draws_8_to_32_frames_as_the_key_says() -> None:
    policy = InternVL(sampling="middle")
    counts = [len(frames_of(policy, keyed(video(999, 25.0), key))) for key in range(400)]
    assert set(counts) == set(range(8, 33))
    assert counts == [len(frames_of(policy, keyed(video(500, 9.0), key))) for key in range(400)]
    other = InternVL(sampling="middle", seed=1)
    assert counts != [len(frames_of(other, keyed(video(999, 25.0), key))) for key in range(400)]


def test_a_random_frame_is_any_of_its_stretch_but_the_last() -> None:
    policy = InternVL(sampling="rand", num_frames=3)
    drawn = np.array([frames_of(policy, keyed(video(12, 25.0), key)) for key in range(300)])
    assert [sorted(set(column)) for column in drawn.T.tolist()] == [
        [0, 1, 2],
        [4, 5, 6],
        [8, 9, 10],
    ]


def test_stretches_of_one_frame_make_way_for_a_sorted_draw() -> None:
    policy = InternVL(sampling="rand", num_frames=4)
    drawn = [frames_of(policy, keyed(video(7, 25.0), key)) for key in range(300)]
    assert all(frames == sorted(set(frames)) and len(frames) == 4 for frames in drawn)
    assert {frame for frames in drawn for frame in frames} == set(range(7))
    assert frames_of(policy, video(3, 25.0)) == [0, 1, 2, 2]


def test_frames_at_a_rate_are_the_middles_of_its_periods() -> None:
    assert frames_of(InternVL(sample_fps=2.0), video(29, 24.0)) == [6, 18]
    row = answer(InternVL(sample_fps=2.0, max_num_frames=3), video(240, 24.0))
    assert row["frame_indices"] == [6, 18, 30]
    assert row["seconds_per_grid"] == 0.5
    refused = answer(InternVL(sample_fps=0.25), video(29, 30.0))
    assert refused["drop"] == "too_few_frames"
    assert answer(InternVL(sample_fps=1.0), video(2**31 - 1, 1e-6))["drop"] == "over_budget"
    long = frames_of(InternVL(sample_fps=1.0, max_num_frames=8), video(2**31 - 1, 1.0))
    assert long == [0, 2, 2, 4, 4, 6, 6, 8]


@pytest.mark.parametrize("sampling", ["middle", "rand", "fps"])
@pytest.mark.parametrize(
    "clip", [(-3.0, 2.0), (2.0, 2.0), (3.0, 2.0), (200.0, 300.0), (np.inf, np.nan), (1.0, 9.9)]
)
def test_training_refuses_a_clip_outside_the_video(
    sampling: str, clip: tuple[float, float]
) -> None:
    policy = InternVL.model_validate({"sampling": sampling, "sample_fps": 4.0})
    assert answer(policy, video(100, 25.0, clip))["drop"] == "bad_clip"


@pytest.mark.parametrize(
    ("media", "reason"),
    [
        (one(0, 8), "bad_size"),
        (video(0, 25.0), "too_few_frames"),
        (video(1, 25.0), None),
        (video(100, -1.0), "bad_frame_rate"),
        (video(100, 25.0, (100.0, 200.0)), "bad_clip"),
        (video(100, 25.0, (np.inf, np.nan)), "bad_clip"),
        (video(100, 25.0, (np.nan, np.inf)), None),
    ],
)
def test_refusals(media: Media, reason: str | None) -> None:
    assert answer(InternVL(), media)["drop"] == reason


@pytest.mark.parametrize(
    "fields",
    [{}, {"sampling": "rand"}, {"num_frames": 3}, {"sample_fps": 1.5, "video_max_num": 4}],
)
def test_a_column_of_everything(fields: dict[str, Any]) -> None:
    assert sum(row["drop"] is None for row in mixed_answers(InternVL.model_validate(fields))) >= 8


@pytest.mark.parametrize(
    ("fields", "fewest"),
    [
        ({"video_max_num": 3}, 4),
        ({"sampling": "rand", "min_num_frame": 6}, 4),
        ({"num_frames": 40}, 4),
        ({"sample_fps": 3.0}, 4),
        ({"sample_fps": 3.0, "max_num_frames": 2}, 2),
    ],
)
def test_smaller_steps_never_grow(fields: dict[str, Any], fewest: int) -> None:
    policy = InternVL.model_validate(fields)
    assert tokens_by_step(policy, one(1000, 1000))[-1] == 258
    for key in range(20):
        tokens = tokens_by_step(policy, keyed(video(999, 25.0), key))
        assert tokens[-1] == 258 * fewest


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_num": 3, "max_num": 2},
        {"min_num_frame": 9, "max_num_frame": 8},
        {"image_size": 450},
        {"downsample_ratio": 0.3},
        {"sampling": "fps"},
        {"sample_fps": 0.0},
        {"max_num_frames": MOST + 1},
        {"colour": 1},
    ],
)
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        InternVL.model_validate(wrong)
