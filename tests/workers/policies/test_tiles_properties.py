"""Tiles of InternVL and NVLM-D: each place of the canvas is seen once, and the budget holds."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.policies.answers import answer, check_crops_cover_once, check_sums, one
from workers.policies.internvl import InternVL
from workers.policies.nvlm_d import NVLMD
from workers.policies.protocol import Policy

SIDES = st.integers(1, 2**26)
TILES = st.integers(1, 12)
IMAGES = st.integers(1, 15)


def check_tiles(policy: Policy, row: dict[str, Any], most: int, thumbnail: bool) -> None:
    """The tiles are 448 pixels wide, at most so many, and followed by the thumbnail of several."""
    assert row["drop"] is None
    check_crops_cover_once(row, 448)
    tiles = row["view_wh"][0] * row["view_wh"][1] // 448**2
    assert tiles <= max(most, 1)
    small = thumbnail and tiles > 1
    assert row["grid_thw"] == [[1, 32, 32]] * (tiles + small)
    assert row["thumbnail"] == ("last" if small else "none")
    assert row["thumbnail_wh"] == row["thumbnail_resized_wh"] == [448 * small] * 2
    assert row["resized_wh"] == row["canvas_wh"] == row["view_wh"]
    check_sums(row)
    assert row["variant"] == policy.variant


@settings(deadline=None)
@given(SIDES, SIDES, TILES, st.booleans(), IMAGES)
def test_tiles_of_internvl_cover_the_canvas_once(
    width: int, height: int, most: int, thumbnail: bool, sharing: int
) -> None:
    policy = InternVL(max_num=most, use_thumbnail=thumbnail)
    row = answer(policy, one(width, height, sharing))
    check_tiles(policy, row, most // sharing, thumbnail)
    assert row["parts"] == [[1, 256 * len(row["grid_thw"]), 0]]
    assert row["llm_tokens"] == 256 * len(row["grid_thw"]) + 2


@settings(deadline=None)
@given(SIDES, SIDES, TILES, st.booleans(), IMAGES, st.sampled_from(["ratio", "area"]))
def test_tiles_of_nvlm_d_cover_the_canvas_once(
    width: int, height: int, most: int, thumbnail: bool, sharing: int, closest: str
) -> None:
    fields = {"max_num": most, "use_thumbnail": thumbnail, "closest": closest}
    policy = NVLMD.model_validate(fields)
    row = answer(policy, one(width, height, sharing))
    check_tiles(policy, row, most // sharing, thumbnail)
    assert (row["runs"], row["parts"]) == (len(row["grid_thw"]), [[1, 256, 0]])
    assert row["llm_tokens"] == 256 * len(row["grid_thw"])
