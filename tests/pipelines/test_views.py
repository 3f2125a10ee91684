"""Pictures on the trainer: what is drawn from `source` bytes is what `pixels` stores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from patchpack.layout import FormatError, Pack, Payload
from patchpack.patches import CLIP, HALF, Picture, flat_patches, normalized, tiles
from patchpack.views import views
from patchpack.vision_inputs import features, flat_inputs, tile_inputs
from tests.handmade import media_pack, text_pack
from tests.pipelines.conftest import Here, build_in, packs_of
from tests.tiny_source import write_source

POLICIES = {
    "qwen2_vl": 'kind = "qwen2_vl"\nmax_pixels = 12544',
    "internvl": 'kind = "internvl"\nimage_size = 56\nmax_num = 6',
    "llava15": 'kind = "llava15"\nimage_size = 56',
    "oryx": 'kind = "oryx"',
    "gemma3": 'kind = "gemma3"\nimage_size = 56\ndo_pan_and_scan = true\n'
    "pan_and_scan_min_crop_size = 16",
    "ovis2": 'kind = "ovis2"\nimage_size = 56',
    "aria": 'kind = "aria"\nmax_image_size = 490\nsplit_image = true',
}
PIECES = ("gemma3", "ovis2", "aria")
"""Whose crops are resized one by one."""


def seen(packs: Iterator[Pack]) -> dict[tuple[str, int], list[Picture]]:
    """The views of every picture; frames of videos are stored as jpeg under both payloads."""
    found = {}
    for pack in packs:
        for item, sample in enumerate(pack.header.item_sample):
            key = pack.header.sample_id[sample], pack.header.item_start[item]
            key = key[0], key[1] - pack.header.cu_seqlens[sample]
            found[key] = views(pack, item)
            grids = pack.arrays.grid_thw[pack.arrays.grid_item == item]
            assert len(found[key]) >= len(grids)
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_source_bytes_are_drawn_as_the_pipeline_draws(policy: str, tmp_path: Path) -> None:
    write_source(tmp_path / "source", 10)
    both = []
    for payload in ("source", "pixels"):
        built = build_in(
            tmp_path,
            Here(),
            payload=payload,
            codec="png",
            policy=POLICIES[policy],
            max_tokens=4000,
        )
        both.append(seen(packs_of(tmp_path / "out", built)))
        packs = list(packs_of(tmp_path / "out", built))
        assert any(len(pack.arrays.pieces) for pack in packs) == (policy in PIECES)
    assert len(both[0]) > 8
    assert both[0].keys() == both[1].keys()
    for key, drawn in both[0].items():
        assert len(drawn) == len(both[1][key])
        for ours, stored in zip(drawn, both[1][key], strict=True):
            assert np.array_equal(ours, stored)


def test_flat_patches_are_those_of_transformers() -> None:
    rng = np.random.default_rng(1)
    processor = Qwen2VLImageProcessorPil(do_resize=False)
    for rows, columns in ((4, 6), (2, 2), (8, 4)):
        picture = rng.integers(0, 256, (rows * 14, columns * 14, 3), np.uint8)
        wanted = processor(images=[picture], input_data_format="channels_last")
        assert wanted["image_grid_thw"].tolist() == [[1, rows, columns]]
        found = flat_patches([picture], [1, rows, columns], CLIP)
        assert np.abs(found - wanted["pixel_values"]).max() < 1e-6
        assert found.dtype == np.float32


def test_the_last_frame_of_an_odd_number_is_repeated() -> None:
    rng = np.random.default_rng(2)
    frames = [rng.integers(0, 256, (28, 56, 3), np.uint8) for _ in range(3)]
    found = flat_patches(frames, [2, 2, 4], HALF).reshape(2, 2, 4, 3, 2, 14, 14)
    assert np.array_equal(found[1, :, :, :, 0], found[1, :, :, :, 1])
    first = normalized(frames[1], HALF)[:, :14, 28:42]  # patch (0, 2) opens the second block
    assert np.array_equal(found.reshape(2, 8, 3, 2, 14, 14)[0, 4, :, 1], first)


def test_tiles_of_one_size_alone() -> None:
    square, wide = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)
    assert tiles([square, square], HALF).shape == (2, 3, 4, 4)
    with pytest.raises(ValueError, match="are no tiles"):
        tiles([square, wide], HALF)


@pytest.mark.parametrize(
    ("frames", "grid", "message"),
    [(1, [1, 3, 2], "are no 3 x 2 patches"), (3, [1, 2, 2], "3 frames are no 1 patches")],
)
def test_grids_that_are_not_those_of_the_pictures(
    frames: int, grid: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        flat_patches([np.zeros((28, 28, 3), np.uint8)] * frames, grid, CLIP)


def test_damaged_pictures_are_told_with_pack_and_item() -> None:
    pack = media_pack(0)
    with pytest.raises(FormatError, match=rf"pack {pack.header.key}: item 0: picture"):
        views(pack, 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"canvas_wh": [60_000, 60_000]}, r"item 0 has pictures of \[60000, 60000\]"),
        ({"view_wh": [-56, -84]}, "item 0 has pictures without pixels"),
        ({"thumbnail_wh": [0, 0]}, "item 0 has pictures without pixels"),
        ({"crops_ltrb": [0, 0, 2**31 - 1, 28]}, r"cut at \[0, 0, 2147483647, 28\], beyond 56 x 84"),
    ],
)
def test_sizes_that_cannot_be_are_told_before_anything_is_made(
    changed: dict[str, list[int]], message: str
) -> None:
    pack = media_pack(0)
    for name, values in changed.items():
        column = getattr(pack.arrays, name).copy()
        column[0] = values
        pack = Pack(pack.header, replace(pack.arrays, **{name: column}), pack.payloads)
    with pytest.raises(FormatError, match=message):
        views(pack, 0)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([[28, 28, 0, 0, 28, 28]], "has 1 pieces for 2 crops"),
        ([[28, 28, 0, 0, 28, 28], [29, 28, 0, 0, 28, 28]], r"\[29, 28\] at \[0, 0\] on \[28, 28\]"),
        ([[28, 28, 0, 0, 28, 28], [28, 28, 0, 1, 28, 28]], r"\[28, 28\] at \[0, 1\] on \[28, 28\]"),
        ([[28, 28, 0, 0, 60_000, 60_000]] * 2, "is cut into 7200001568 pixels"),
    ],
)
def test_pieces_that_cannot_be_are_told_before_anything_is_made(
    pieces: list[list[int]], message: str
) -> None:
    pack, values = media_pack(0), np.array(pieces, np.int32)
    arrays = replace(pack.arrays, pieces=values, pieces_item=np.zeros(len(values), np.int32))
    with pytest.raises(FormatError, match=f"item 0 .*{message}"):
        views(Pack(pack.header, arrays, pack.payloads), 0)


def test_crops_that_repeat_the_view_without_end_are_told() -> None:
    pack = media_pack(0)
    crops = np.tile(np.array([[0, 0, 56, 84]], np.int32), (50_000, 1))
    item = np.zeros(len(crops), np.int32)
    arrays = replace(pack.arrays, crops_ltrb=crops, crops_item=item)
    with pytest.raises(FormatError, match="item 0 is cut into 235200000 pixels"):
        views(Pack(pack.header, arrays, pack.payloads), 0)


def test_stored_features_come_as_they_are() -> None:
    pack = media_pack(0)
    rows = torch.arange(12, dtype=torch.bfloat16).reshape(4, 3)
    stored = [Payload("BF16", rows.view(torch.uint16).numpy())] * 2
    arrays = replace(pack.arrays, payload=np.array([2, 2], np.uint8))
    header = replace(pack.header, item_tensor=["feature.00000", "feature.00001"])
    found = features(Pack(header, arrays, stored))
    assert found is not None
    assert torch.equal(found, torch.cat([rows, rows]))
    with pytest.raises(FormatError, match="has features, no pictures"):
        views(Pack(header, arrays, stored), 0)
    with pytest.raises(FormatError, match="item 0 has pictures, no features"):
        features(pack)


def test_a_pack_of_text_has_nothing_for_the_vision_side() -> None:
    pack = text_pack(0)
    assert (flat_inputs(pack, CLIP), tile_inputs(pack, CLIP), features(pack)) == ({}, {}, None)
