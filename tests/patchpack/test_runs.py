"""Packs with runs of unequal length: read back, verified, given positions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from patchpack.layout import FormatError, Pack, encode
from patchpack.positions import blocks_of, position_ids
from pipelines.verify import verify
from tests.handmade import again, media_pack
from tests.pipelines.conftest import Here, build_in, packs_of
from tests.tiny_source import asked, encoded, picture, write_records
from workers.inspect_pack import problems_in

UNEQUAL = [[1, 2, 4], [1, 3, 4], [1, 2, 0]]
"""A picture in runs of 2 and 3 features, and the video of `media_pack`."""

SHOWN = {"a.png": (96, 96), "b.png": (300, 180)}


def with_parts(parts: list[list[int]], owners: list[int], grids: list[list[int]]) -> Pack:
    """The picture's runs are tokens 2, 3 and 5, 6, 7; the video's 13, 14 and 15, 16."""
    base = media_pack(0)
    kind = base.arrays.token_kind.copy()
    kind[2:8] = (1, 1, 0, 1, 1, 1)
    arrays = replace(
        base.arrays,
        token_kind=kind,
        parts=np.array(parts, np.int32),
        part_item=np.array(owners, np.int32),
        grid_thw=np.array([*grids, [2, 2, 4]], np.int32),
        grid_item=np.array([0] * len(grids) + [1], np.int32),
    )
    policy = ["qwen2_vl/hf"] * 2
    return Pack(replace(base.header, policy=policy), arrays, base.payloads)


def problems_of_kinds(pack: Pack) -> list[str]:
    return [one for one in problems_in(pack) if "embeddings" in one]


def test_its_kinds_are_what_its_parts_give() -> None:
    pack = again(with_parts(UNEQUAL, [0, 0, 1], [[1, 1, 5]]))
    assert problems_of_kinds(pack) == []
    short = with_parts([[1, 2, 4], [1, 2, 4], [1, 2, 0]], [0, 0, 1], [[1, 1, 5]])
    told = ["item 0 has 5 embeddings, its parts give 4 or other kinds"]
    assert problems_of_kinds(again(short)) == [*told, "9 embeddings, the items have 8"]


@pytest.mark.parametrize(
    ("parts", "planned"),
    [
        ([1, 0, 4], 0),
        ([2**31 - 1, 0, 4], 0),
        ([2**31 - 1, 1, 4], 2**31 - 1),
        ([2**31 - 1, 2**31 - 1, 2], (2**31 - 1) << 31),
    ],
)
def test_parts_that_cannot_be_are_told(parts: list[int], planned: int) -> None:
    """A pack is not believed: nothing is made of the size that it says."""
    found = problems_of_kinds(again(with_parts([parts, [1, 2, 0]], [0, 1], [[1, 1, 5]])))
    assert found[0] == f"item 0 has 5 embeddings, its parts give {planned} or other kinds"


def test_a_code_that_the_format_lacks_is_refused() -> None:
    with pytest.raises(FormatError, match="parts: holds 5 after a row, at most 4"):
        encode(with_parts([[1, 5, 5], [1, 2, 0]], [0, 1], [[1, 1, 5]]))


def test_positions_of_one_dimension_count_every_token() -> None:
    pack = with_parts(UNEQUAL, [0, 0, 1], [[1, 1, 5]])
    ids = position_ids(replace(pack, header=replace(pack.header, positions="1d")))
    assert ids.tolist() == [[*range(10), *range(12)]]


def test_a_grid_that_is_cut_into_runs_has_no_places() -> None:
    one = with_parts(UNEQUAL, [0, 0, 1], [[1, 1, 5]])
    two = with_parts(UNEQUAL, [0, 0, 1], [[1, 1, 2], [1, 1, 3]])
    kind = two.arrays.token_kind.copy()
    kind[15] = 0  # the video's second run has a mark before it
    kind[17] = 1
    with pytest.raises(FormatError, match="its grids do not give its runs"):
        position_ids(one)
    two = replace(two, arrays=replace(two.arrays, token_kind=kind))
    assert blocks_of(two).grid.tolist() == [[1, 1, 2], [1, 1, 3], [1, 1, 2], [1, 1, 2]]


def test_a_build_with_them_verifies(tmp_path: Path) -> None:
    """LFM2-VL: tiles of one size, and the whole picture of another."""
    files = {name: encoded(picture(0, wh), "png") for name, wh in SHOWN.items()}
    write_records(tmp_path / "source", files, [asked(name[0], name) for name in files])
    policy = 'kind = "lfm2_vl"\ntile_size = 64\nmin_image_tokens = 4\nmax_image_tokens = 9'
    made = build_in(tmp_path, Here(), policy=policy, max_tokens=256)
    assert verify(tmp_path / "out").problems == []
    found = {}
    for pack in packs_of(tmp_path / "out", made):
        for item in range(pack.header.items):
            parts = pack.arrays.parts[pack.arrays.part_item == item].tolist()
            found[pack.header.sample_id[pack.header.item_sample[item]]] = parts
        ids = position_ids(pack)
        lengths = np.diff(pack.header.cu_seqlens).tolist()
        assert ids.tolist() == [[place for length in lengths for place in range(length)]]
    assert found["tiny/a"] == [[1, 9, 4]]
    assert [[columns, after] for _, columns, after in found["tiny/b"]] == [[4, 4], [6, 4]]
