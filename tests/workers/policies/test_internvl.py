"""InternVL: the nearest grid, tiles that cover it, frames between names, typed refusals."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.sized import Media, images
from tests.workers.policies.videos import video
from workers.policies.internvl import InternVL
from workers.policies.tiles import candidate_grids

SIDES = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("width", "height", "resized", "llm_tokens"),
    [
        (224, 224, (448, 448), 258),
        (640, 480, (1792, 1344), 3330),
        (800, 1300, (896, 1344), 1794),
        (1654, 2339, (896, 1344), 1794),
        (3840, 2160, (1792, 896), 2306),
        (10000, 10000, (1344, 1344), 2562),
        (1000, 31, (5376, 448), 3330),
        (1, 10000, (448, 5376), 3330),
    ],
)
def test_published_sizes(
    width: int, height: int, resized: tuple[int, int], llm_tokens: int
) -> None:
    sized = InternVL().size(images(np.array([width]), np.array([height])))
    assert tuple(sized.resized_wh[0]) == resized
    assert sized.llm_tokens.tolist() == [llm_tokens]


def test_forty_tiles_of_a_page() -> None:
    sized = InternVL(max_num=40).size(images(np.array([800]), np.array([1300])))
    assert sized.canvas_wh.tolist() == [[2240, 3584]]
    assert sized.llm_tokens.tolist() == [10498]


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
    assert (sized.resized_wh // 448).tolist() == [list(grid) for grid in expected]


@settings(deadline=None)
@given(SIDES, SIDES, st.booleans())
def test_tiles_cover_the_canvas_once(width: int, height: int, thumbnail: bool) -> None:
    policy = InternVL(use_thumbnail=thumbnail)
    sized = policy.size(images(np.array([width]), np.array([height])))
    columns, rows = (sized.canvas_wh[0] // 448).tolist()
    boxes = sized.crops_ltrb[0].tolist()
    tiles = columns * rows
    assert 1 <= tiles <= 12
    assert len(boxes) == (tiles if tiles > 1 else 0)
    covered = np.zeros((rows, columns), np.int64)
    for left, top, right, bottom in boxes:
        assert (right - left, bottom - top) == (448, 448)
        covered[top // 448, left // 448] += 1
    assert (covered == (1 if tiles > 1 else 0)).all()
    assert all((a[1], a[0]) < (b[1], b[0]) for a, b in pairwise(boxes))
    views = tiles + (thumbnail and tiles > 1)
    assert sized.grid_thw[0].tolist() == [[1, 32, 32]] * views
    assert sized.thumbnail_wh[0].tolist() == [448 * (views > tiles)] * 2
    assert sized.vision_tokens[0] == 256 * views
    assert sized.llm_tokens[0] == 256 * views + 2
    assert sized.vit_patches[0] == 1024 * views


def test_pictures_of_one_sample_share_the_tiles() -> None:
    media = images(np.full(4, 1600), np.full(4, 400))
    shared = Media(**{**vars(media), "images": np.array([1, 3, 12, 100])})
    sized = InternVL().size(shared)
    assert np.diff(sized.grid_thw.offsets).tolist() == [5, 5, 1, 1]


def test_a_video_is_one_run_a_frame() -> None:
    sized = InternVL(num_segments=4).size(video(100, 25.0))
    assert sized.frame_indices[0].tolist() == [12, 37, 62, 86]
    assert sized.runs.tolist() == [4]
    assert sized.vision_tokens.tolist() == [1024]
    assert sized.llm_tokens.tolist() == [1032]
    assert sized.grid_thw[0].tolist() == [[1, 32, 32]] * 4
    assert InternVL().frame_prefix.format(i=1) == "Frame1: "


def test_tiles_of_a_frame_hold_for_all_frames() -> None:
    sized = InternVL(num_segments=4, video_max_num=6).size(video(100, 25.0))
    assert len(sized.crops_ltrb[0]) == 2
    assert len(sized.grid_thw[0]) == 4 * (2 + 1)


@settings(deadline=None)
@given(st.integers(1, 10_000), st.floats(0.2, 120), st.floats(-10, 500), st.floats(-10, 500))
def test_frames_lie_in_the_video(frames: int, fps: float, start: float, end: float) -> None:
    sized = InternVL(num_segments=8).size(video(frames, fps, (start, end)))
    if sized.drop[0] is not None:
        assert sized.drop[0] == "bad_clip"
        assert start > end or end < 0 or round(start * fps) >= frames - 1
        assert len(sized.frame_indices[0]) == sized.llm_tokens[0] == 0
    else:
        indices = sized.frame_indices[0]
        assert len(indices) == 8
        assert indices.min() >= 0
        assert indices.max() < frames


@pytest.mark.parametrize(
    ("media", "reason"),
    [
        (images(np.array([0]), np.array([8])), "bad_size"),
        (video(0, 25.0), "too_few_frames"),
        (video(1, 25.0), None),
        (video(100, -1.0), "bad_frame_rate"),
        (video(100, 25.0, (100.0, 200.0)), "bad_clip"),
        (video(100, 25.0, (np.inf, np.nan)), "bad_clip"),
        (video(100, 25.0, (np.nan, np.inf)), None),
    ],
)
def test_refusals(media: Media, reason: str | None) -> None:
    sized = InternVL().size(media)
    assert sized.drop[0] == reason
    if reason:
        assert sized.message[0]
        assert sized.llm_tokens[0] == sized.runs[0] == 0
        assert len(sized.grid_thw[0]) == len(sized.crops_ltrb[0]) == 0


def test_smaller_ends_and_never_grows() -> None:
    steps = [InternVL(video_max_num=3)]
    while (step := steps[-1].smaller()) is not None:
        steps.append(InternVL.model_validate(step.model_dump()))
        assert len(steps) < 30
    page = images(np.array([1000]), np.array([1000]))
    assert (steps[-1].max_num, steps[-1].num_segments) == (1, 4)
    assert steps[-1].size(page).llm_tokens.tolist() == [258]
    tokens = [int(policy.size(video(999, 25.0)).llm_tokens[0]) for policy in steps]
    assert tokens == sorted(tokens, reverse=True)


@pytest.mark.parametrize(
    "wrong",
    [{"min_num": 3, "max_num": 2}, {"image_size": 450}, {"downsample_ratio": 0.3}, {"colour": 1}],
)
def test_impossible_settings(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        InternVL.model_validate(wrong)
