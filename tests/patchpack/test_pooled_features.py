"""What is done behind the projector equals transformers' own code, in the reference's order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from patchpack import FormatError, Pack, Payload
from patchpack.collate import blocks, pooled, vision_tokens
from patchpack.item_geometry import grids_of
from patchpack.vision_inputs import item_features
from tests.pipelines.conftest import Here, build_in, packs_of
from tests.tiny_source import write_source

SIDE, WIDTH = 4, 8
NEWLINE = torch.full((WIDTH,), 7.0)


def built(folder: Path, policy: str) -> list[Pack]:
    write_source(folder / "source", 10, times=3)
    made = build_in(folder, Here(), policy=policy, max_tokens=4096)
    return [pack for pack in packs_of(folder / "out", made) if pack.header.items]


def projected(pack: Pack, item: int) -> list[torch.Tensor]:
    """Rows of each view, as a projector might make them."""
    draw = torch.Generator().manual_seed(item)
    counts = [t * h * w for t, h, w in grids_of(pack, item)]
    return [torch.randn(count, WIDTH, generator=draw) for count in counts]


def kinds_of(pack: Pack, item: int) -> Any:
    start = pack.header.item_start[item]
    return pack.arrays.token_kind[start : start + pack.header.item_length[item]]


def settings(pinpoints: list[list[int]]) -> SimpleNamespace:
    vision = SimpleNamespace(image_size=14 * SIDE, patch_size=14)
    return SimpleNamespace(
        config=SimpleNamespace(vision_config=vision, image_grid_pinpoints=pinpoints)
    )


def with_newlines(pack: Pack, item: int, tokens: torch.Tensor) -> torch.Tensor:
    """As a trainer puts them together: by `token_kind`."""
    kinds = torch.from_numpy(kinds_of(pack, item).copy())
    whole = torch.empty(len(kinds), WIDTH)
    whole[kinds == 2] = NEWLINE
    whole[kinds == 1] = tokens
    return whole


ONEVISION = (
    'kind = "llava_onevision"\nvariant = "hf_5.23.0"\nimage_size = 56\n'
    'grid_spec = "(1x1),...,(4x4)"\nmax_num_patches = 2'
)


def test_onevision_by_transformers(tmp_path: Path) -> None:
    from transformers.models.llava_onevision.modeling_llava_onevision import LlavaOnevisionModel

    model: Any = LlavaOnevisionModel
    owner = settings([[56 * a, 56 * b] for a in range(1, 5) for b in range(1, 5)])
    seen = {"tiles": 0, "reduced": 0, "video": 0, "alone": 0}
    for pack in built(tmp_path, ONEVISION):
        for item, kind in enumerate(pack.header.item_kind):
            views = projected(pack, item)
            tokens = with_newlines(pack, item, vision_tokens(pack, item, views))
            if kind == "video":
                [clip] = views
                frames = clip.view(-1, SIDE**2, WIDTH)
                theirs = model.apply_pooling(owner, frames).flatten(0, 1)
                theirs = torch.cat([theirs, NEWLINE[None]])
                seen["video"] += 1
            else:
                width, height = pack.header.item_source_wh[item]
                size = torch.tensor([[height, width]])
                [theirs], _ = model.pack_image_features(
                    owner, [torch.stack(views)], size, NEWLINE, "anyres_max_2"
                )
                seen["tiles" if len(views) > 1 else "alone"] += 1
                seen["reduced"] += len(views) > 3
            torch.testing.assert_close(tokens, theirs, atol=0, rtol=0)
    assert min(seen.values()) > 0, seen


def test_next_by_transformers(tmp_path: Path) -> None:
    from transformers.models.llava_next.modeling_llava_next import LlavaNextModel

    model: Any = LlavaNextModel
    owner = settings([[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]])
    policy = 'kind = "llava_next"\nvariant = "hf_5.23.0"\nimage_size = 56'
    compared = 0
    for pack in built(tmp_path, policy):
        for item, kind in enumerate(pack.header.item_kind):
            if kind == "video":
                continue
            views = projected(pack, item)
            tokens = with_newlines(pack, item, vision_tokens(pack, item, views))
            width, height = pack.header.item_source_wh[item]
            [theirs], _ = model.pack_image_features(
                owner, [torch.stack(views)], torch.tensor([[height, width]]), "default", NEWLINE
            )
            torch.testing.assert_close(tokens, theirs, atol=0, rtol=0)
            compared += 1
    assert compared > 5


@pytest.mark.parametrize("mode", ["average", "max"])
def test_next_video_by_transformers(mode: Any) -> None:
    from transformers.models.llava_next_video.modeling_llava_next_video import LlavaNextVideoPooler

    vision = SimpleNamespace(image_size=14 * 5, patch_size=14, hidden_size=WIDTH)
    config = SimpleNamespace(spatial_pool_mode=mode, spatial_pool_stride=2, vision_config=vision)
    pooler: Any = LlavaNextVideoPooler
    frames = torch.randn(3, 25, WIDTH)
    assert torch.equal(pooled(frames, mode), pooler(config)(frames))


@pytest.mark.parametrize("side", [2, 4])
def test_blocks_of_oryx(side: int) -> None:
    """Their mean is the pooled token, as `F.avg_pool2d` has it in the reference."""
    height, width = 8, 12
    rows = torch.randn(height * width, WIDTH)
    cut = blocks(rows, (height, width), side)
    maps = rows.T.view(1, WIDTH, height, width)
    theirs = torch.nn.functional.avg_pool2d(maps, side).flatten(2)[0].T
    torch.testing.assert_close(cut.mean(dim=1), theirs)


def test_rows_that_fit_in_no_way(tmp_path: Path) -> None:
    pack = built(tmp_path, ONEVISION)[0]
    views = projected(pack, 0)
    with pytest.raises(FormatError, match=r"item 0: .* rows of features for"):
        vision_tokens(pack, 0, [*views, views[0]])
    with pytest.raises(FormatError, match="rows of features"):
        vision_tokens(pack, 0, [view[:-1] for view in views])


@pytest.mark.parametrize("size", [[0, 3], [2**30, 2**30], [7, 7]])
def test_a_map_that_is_no_size_is_refused(size: list[int], tmp_path: Path) -> None:
    """A pack is not believed: nothing is made of the size that it says."""
    pack = next(one for one in built(tmp_path, ONEVISION) if (one.arrays.part_item == 0).sum() == 2)
    parts = pack.arrays.parts.copy()
    parts[np.flatnonzero(pack.arrays.part_item == 0)[1], :2] = size
    told = replace(pack, arrays=replace(pack.arrays, parts=parts))
    with pytest.raises(FormatError, match="rows of features"):
        vision_tokens(told, 0, projected(pack, 0))


@pytest.mark.parametrize("scales", [0, 3])
def test_scales_that_do_not_fit_are_refused(scales: int, tmp_path: Path) -> None:
    pack = built(tmp_path, ONEVISION)[0]
    rows = Payload("I8", np.zeros((4, 8), np.int8))
    odd = Payload("BF16", np.zeros((4, scales), np.uint16))
    arrays = replace(pack.arrays, payload=np.full(pack.header.items, 2, np.uint8))
    names = [f"feature.{2 * item:05d}" for item in range(pack.header.items)]
    for stored in ([rows, odd], [rows]):
        header = replace(pack.header, item_tensor=names if len(stored) == 2 else ["feature.00000"])
        told = Pack(header, arrays, stored * (pack.header.items if len(stored) == 2 else 1))
        with pytest.raises(FormatError, match="lacks the scales"):
            item_features(told, 0)
