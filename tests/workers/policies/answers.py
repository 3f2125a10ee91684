"""What the tests of all policies ask: one medium, a mixed column, all steps to smaller samples."""

from typing import Any

import numpy as np

from schemas.sized import Media, images
from tests.workers.policies.videos import video
from workers.policies.protocol import Policy

HUGE = 2**26
"""Pixels of the longest side that is read."""


def one(width: int, height: int, images_in_sample: int = 1) -> Media:
    """A single picture."""
    media = images(np.array([width]), np.array([height]))
    return Media(**{**vars(media), "images": np.array([images_in_sample])})


def view(width: int, height: int) -> Media:
    """A single posed view."""
    return Media(**{**vars(one(width, height)), "kind": np.array(["view"], dtype=object)})


def answer(policy: Policy, media: Media) -> dict[str, Any]:
    """The single row as Python values, with the texts around its runs."""
    sized = policy.size(media)
    rows: list[dict[str, Any]] = sized.to_table().to_pylist()
    assert len(rows) == 1
    return {**rows[0], "texts": sized.layout.texts.of(0)}


MIXED = [
    one(640, 480),
    video(100, 25.0),
    one(0, 1),
    view(1, 1),
    video(1, 30.0, wh=(300, 700)),
    one(31, 1000, images_in_sample=3),
    one(HUGE, 1),
    one(1, HUGE),
    one(HUGE, HUGE),
    one(HUGE + 1, 5),
    video(0, 25.0),
    video(100, float("nan")),
    video(100, 25.0, (3.0, 2.0)),
    one(2339, 1654),
    video(77, 30.0, (0.5, 2.0)),
]
"""Pictures, a view and videos, ordinary, extreme and impossible."""

REFUSED_ALWAYS = {2: "bad_size", 9: "bad_size", 10: "too_few_frames", 11: "bad_frame_rate"}
"""Rows of `MIXED` and their reasons."""


def mixed_answers(policy: Policy) -> list[dict[str, Any]]:
    """The answers to `MIXED` in one column, after checking that they are those of each alone."""
    sized = policy.size(Media.concatenate(MIXED))
    rows: list[dict[str, Any]] = sized.to_table().to_pylist()
    together = [{**row, "texts": sized.layout.texts.of(i)} for i, row in enumerate(rows)]
    assert together == [answer(policy, media) for media in MIXED]
    assert {row: together[row]["drop"] for row in REFUSED_ALWAYS} == REFUSED_ALWAYS
    for found in together:
        assert (found["drop"] is None) == (found["message"] is None)
        check_sums(found)
    return together


def check_sums(row: dict[str, Any]) -> None:
    """The numbers of a row agree: nothing of a refusal without geometry, else all adds up."""
    parts, runs = row["parts"], row["runs"]
    features = sum(rows * columns for rows, columns, _ in parts)
    assert row["vision_tokens"] == runs * features
    assert row["vit_patches"] == sum(t * h * w for t, h, w in row["grid_thw"])
    assert len(row["texts"]) in (0, runs + 1)
    if not row["grid_thw"]:
        assert row["drop"] is not None
        assert row["llm_tokens"] == runs == 0
        assert row["frame_indices"] == row["crops_ltrb"] == []
        assert row["resized_wh"] == row["canvas_wh"] == row["view_wh"] == [0, 0]
        assert (row["thumbnail"], row["thumbnail_wh"]) == ("none", [0, 0])


def steps(policy: Policy) -> list[Policy]:
    """The policy and all that `smaller` makes of it; each is valid when read again."""
    found = [policy]
    while (step := found[-1].smaller()) is not None:
        found.append(type(policy).model_validate(step.model_dump()))
        assert len(found) < 600
    return found


def tokens_by_step(policy: Policy, media: Media) -> list[int]:
    """The cost of a medium at each step, which never grows."""
    found = [int(step.size(media).llm_tokens.sum()) for step in steps(policy)]
    assert found == sorted(found, reverse=True)
    return found


def check_crops_cover_once(row: dict[str, Any], tile: int) -> None:
    """The crops are the tiles of the view, row by row, each once; none where it is one tile."""
    width, height = row["view_wh"]
    assert width % tile == height % tile == 0
    tiles = [
        [left, top, left + tile, top + tile]
        for top in range(0, height, tile)
        for left in range(0, width, tile)
    ]
    assert row["crops_ltrb"] == (tiles if len(tiles) > 1 else [])
