"""Sizes for notebooks."""

import doctest

import pyarrow as pa
import pytest

import workers.policies
from schemas.errors import ContractError
from schemas.sized import SIZED_ITEM
from workers.policies import size
from workers.policies.fixed import Fixed
from workers.policies.internvl import InternVL
from workers.policies.qwen2_vl import Qwen2VL


def test_one_row_a_policy_and_medium() -> None:
    media = pa.table({"width": [640, 0], "height": [480, 5], "caption": ["a", "b"]})
    table = size(media, [Qwen2VL(), InternVL()])
    assert table.column_names == ["policy", "media_row", *SIZED_ITEM.names]
    assert table.column("policy").to_pylist() == [
        *["qwen2_vl/qwen_vl_utils"] * 2,
        *["internvl/internvl_chat"] * 2,
    ]
    assert table.column("media_row").to_pylist() == [0, 1, 0, 1]
    assert table.column("llm_tokens").to_pylist() == [393, 0, 3330, 0]
    assert table.column("drop").to_pylist() == [None, "bad_size"] * 2


def test_videos_and_clips_are_columns() -> None:
    media = pa.table(
        {
            "kind": ["video"],
            "width": [640],
            "height": [360],
            "frames": [100],
            "fps": [25],
            "clip_start": [2.0],
        }
    )
    table = size(media, [Qwen2VL(nframes=4)])
    assert table.column("frame_indices").to_pylist() == [[50, 66, 83, 99]]


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"width": [1]}, "height is missing"),
        ({"width": [1], "height": [None]}, "height has 1 nulls"),
        ({"width": ["x"], "height": [1]}, "width: expected int64"),
        ({"width": [[1]], "height": [1]}, "width is list"),
    ],
)
def test_a_bad_column_is_named(columns: dict[str, list[object]], named: str) -> None:
    with pytest.raises(ContractError, match=named):
        size(pa.table(columns), [Fixed()])


def test_no_policy_is_an_error() -> None:
    with pytest.raises(ContractError, match="policies"):
        size(pa.table({"width": [1], "height": [1]}), [])


def test_the_example_runs() -> None:
    found = doctest.testmod(workers.policies)
    assert (found.failed, found.attempted) == (0, 5)
