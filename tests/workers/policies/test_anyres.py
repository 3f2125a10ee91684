"""AnyRes arithmetic against the reference's own steps in plain Python."""

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.policies.anyres import (
    Canvases,
    best_canvas,
    bilinear_size,
    check_canvases,
    fit,
    next_canvases,
    spec_canvases,
    unpad,
    without_largest,
)

SIDE = st.one_of(st.integers(1, 3000), st.integers(1, 2**26))
NEXT = next_canvases({"image_size": 336})
ONEVISION = spec_canvases("(1x1),...,(6x6)", 384)


def chosen_by_loop(width: int, height: int, canvases: Canvases) -> int:
    """`select_best_resolution`, for one picture."""
    best, most, least = -1, 0, float("inf")
    for index, (canvas_width, canvas_height) in enumerate(canvases):
        scale = min(canvas_width / width, canvas_height / height)
        held = min(int(width * scale) * int(height * scale), width * height)
        waste = canvas_width * canvas_height - held
        if held > most or (held == most and waste < least):
            best, most, least = index, held, waste
    return best


@settings(deadline=None)
@given(st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=9), st.sampled_from([NEXT, ONEVISION]))
def test_a_column_of_sizes_takes_the_choice_of_the_loop(
    sizes: list[tuple[int, int]], canvases: Canvases
) -> None:
    width, height = np.array(sizes).T
    expected = [chosen_by_loop(*size, canvases) for size in sizes]
    assert best_canvas(width, height, canvases).tolist() == expected


def test_the_first_canvas_listed_wins_a_full_tie() -> None:
    square = np.array([224])
    assert best_canvas(square, square, [(336, 672), (672, 336)]).tolist() == [0]
    assert best_canvas(square, square, [(672, 336), (336, 672)]).tolist() == [0]


def fit_by_steps(width: int, height: int, canvas: tuple[int, int]) -> list[int]:
    """`resize_and_pad_image`, for one picture."""
    to_width, to_height = canvas[0] / width, canvas[1] / height
    if to_width < to_height:
        return [canvas[0], min(ceil(height * to_width), canvas[1])]
    return [min(ceil(width * to_height), canvas[0]), canvas[1]]


def unpad_by_steps(size: tuple[int, int], whole: tuple[int, int], digits: int | None) -> list[int]:
    """`unpad_image`, for one picture."""
    (width, height), (columns, rows) = size, whole
    wide = width / height > columns / rows
    content = height * (columns / width) if wide else width * (rows / height)
    kept = int(content if digits is None else round(content, digits))
    if wide:
        return [columns, rows - 2 * ((rows - kept) // 2)]
    return [columns - 2 * ((columns - kept) // 2), rows]


@given(SIDE, SIDE, st.sampled_from(ONEVISION), st.sampled_from([None, 7]))
def test_a_picture_is_fitted_and_cut_out_again_as_by_the_reference(
    width: int, height: int, canvas: tuple[int, int], digits: int | None
) -> None:
    size = np.array([[width, height]])
    fitted = fit(size, np.array([canvas]))[0].tolist()
    assert fitted == fit_by_steps(width, height, canvas)
    whole = (canvas[0] // 384 * 27, canvas[1] // 384 * 27)
    kept = unpad(size, np.array([whole]), digits)[0].tolist()
    assert kept == unpad_by_steps((width, height), whole, digits)
    assert all(0 <= one <= most for one, most in zip(kept, whole, strict=True))


def test_the_original_loses_a_row_that_transformers_keeps() -> None:
    size, whole = np.array([[2352, 1421]]), np.array([[48, 48]])
    assert 1421 * (48 / 2352) < 29 == 1421 * 48 / 2352
    assert unpad(size, whole).tolist() == [[48, 28]]
    assert unpad(size, whole, 7).tolist() == [[48, 30]]


@given(st.integers(0, 400), st.integers(0, 400), st.integers(1, 40))
def test_a_map_within_the_slack_stays_and_a_larger_one_never_exceeds_the_budget(
    columns: int, rows: int, views: int
) -> None:
    budget = views * 27**2
    reduced = bilinear_size(np.array([[columns, rows]]), budget)[0].tolist()
    if columns * rows <= 1.2 * budget:
        assert reduced == [columns, rows]
    if columns * rows > 1.22 * budget:
        assert reduced[0] * reduced[1] <= budget


def test_a_spec_lists_all_grids_with_the_first_number_outermost() -> None:
    assert spec_canvases("(1x2),...,(2x3)", 10) == [(10, 20), (10, 30), (20, 20), (20, 30)]
    assert len(ONEVISION) == 36


def test_the_largest_canvases_go_together() -> None:
    assert without_largest(NEXT) == tuple(NEXT[i] for i in (0, 1, 3, 4))
    assert without_largest(NEXT[:2]) == ()


@pytest.mark.parametrize(
    "canvases", [[], [(336, 0)], [(336, 500)], [(336, 336 * 65)], [(-336, 336)]]
)
def test_a_canvas_is_a_whole_number_of_tiles(canvases: Canvases) -> None:
    with pytest.raises(ValueError, match="canvas"):
        check_canvases(canvases, 336)
