"""Features equal what transformers gives for the picture alone, whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from patchpack.patches import normalized
from tests.tiny_towers import KINDS, by_transformers, tiny_model, write_tower, write_whole
from workers.encoders.config import EncoderConfig
from workers.encoders.patching import View
from workers.encoders.tower import Rows, Tower

TOLERANCE = 1e-5
GRIDS = {
    "clip": [(2, 2)] * 3,
    "siglip": [(2, 2)] * 3,
    "internvit": [(4, 4)] * 3,
    "siglip2": [(4, 4), (2, 7), (3, 5), (1, 16)],
    "qwen2_vl": [(4, 4), (2, 8), (6, 4)],
    "qwen2_5_vl": [(4, 4), (10, 6), (2, 8)],
    "qwen3_vl": [(4, 4), (2, 8), (6, 4)],
}
SIDES = {"clip": 28, "siglip": 30, "internvit": 56}
PATCH = {"siglip2": 16, "qwen3_vl": 16}


def some_views(kind: str, frames: int = 1) -> list[View]:
    draw = np.random.default_rng(1)
    found = []
    for rows, columns in GRIDS[kind]:
        patch = PATCH.get(kind, 14)
        height, width = SIDES.get(kind, rows * patch), SIDES.get(kind, columns * patch)
        pixels = draw.integers(0, 256, (frames, height, width, 3), np.uint8)
        found.append(View(pixels, rows, columns))
    return found


def settings(folder: Path, **more: Any) -> EncoderConfig:
    return EncoderConfig(model=str(folder), dtype="float32", device="cpu", **more)


def as_they_are(tower: Tower, views: Sequence[View]) -> list[torch.Tensor]:
    """Of each view, before anything is rounded to be stored."""
    hidden = tower.forward(tower.patches(views), views)
    counts = [tower.shape.rows(view.patches) for view in views]
    assert len(hidden) == sum(counts)
    return list(torch.split(hidden, counts))


@pytest.mark.parametrize("at", [None, "post_merger"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_alone(kind: str, at: Any, tmp_path: Path) -> None:
    if at and not kind.startswith("qwen"):
        pytest.skip("has no merger")
    tower = Tower(settings(write_tower(tmp_path / "m", kind), at=at))
    views = some_views(kind)
    found = as_they_are(tower, views)
    for view, ours in zip(views, found, strict=True):
        theirs = by_transformers(kind, tiny_model(kind), view, at or "pre_merger")
        assert theirs.std() > 0.1
        assert ours.shape == theirs.shape
        assert ours.shape[1] == tower.shape.width
        torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_checkpoint(kind: str, tmp_path: Path) -> None:
    alone = Tower(settings(write_tower(tmp_path / "alone", kind)))
    inside = Tower(settings(write_whole(tmp_path / "whole", kind, "model.vision_tower.")))
    views = some_views(kind)
    for one, other in zip(as_they_are(alone, views), as_they_are(inside, views), strict=True):
        assert torch.equal(one, other)
    assert alone.shape == inside.shape


def native_views(patch: int) -> list[View]:
    draw = np.random.default_rng(2)
    return [
        View(draw.integers(0, 256, (1, rows * patch, columns * patch, 3), np.uint8), rows, columns)
        for rows, columns in [(2, 2), (3, 5), (7, 2), (1, 9)]
    ]


def test_siglip_at_any_resolution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers interpolates bicubically, Oryx bilinearly: its forward with that one change."""
    model = tiny_model("siglip")

    def bilinear(embeddings: torch.Tensor, height: int, width: int) -> torch.Tensor:
        del embeddings
        square = model.embeddings.position_embedding.weight.T.reshape(1, -1, 2, 2)
        size = (height // 14, width // 14)
        return interpolate(square, size, mode="bilinear", align_corners=False).flatten(2).mT

    monkeypatch.setattr(model.embeddings, "interpolate_pos_encoding", bilinear)
    tower = Tower(settings(write_tower(tmp_path / "m", "siglip"), resolution="native"))
    views = native_views(14)
    for view, ours in zip(views, as_they_are(tower, views), strict=True):
        pixels = torch.from_numpy(normalized(view.pixels[0], tower.shape.normalization))[None]
        with torch.inference_mode():
            out = model(pixels, interpolate_pos_encoding=True, output_hidden_states=True)
        torch.testing.assert_close(ours, out.hidden_states[-1][0], atol=TOLERANCE, rtol=TOLERANCE)


def test_dropped_patches_are_not_seen(tmp_path: Path) -> None:
    """As vit_pytorch's NaViT: the patches that stay attend to one another, at their places."""
    tower = Tower(settings(write_tower(tmp_path / "m", "siglip"), resolution="native"))
    view = native_views(14)[1]
    stays = np.array([0, 3, 4, 11])
    pixels = view.pixels.copy()
    rows = pixels.reshape(3, 14, 5, 14, 3).swapaxes(1, 2)
    for number in set(range(15)) - set(stays.tolist()):
        rows[number // 5, number % 5] = 255
    some, whole = View(view.pixels, 3, 5, stays), View(pixels, 3, 5, stays)
    first, second, uncut = as_they_are(tower, [some, whole, view])
    assert len(first) == 4
    assert torch.equal(first, second)
    assert not torch.allclose(first, uncut[torch.from_numpy(stays)], atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_within_the_dtype(kind: str, tmp_path: Path) -> None:
    """Against bfloat16 of the picture alone, and near float32."""
    folder = write_tower(tmp_path / "m", kind)
    exact = Tower(settings(folder))
    rounded = Tower(settings(folder).model_copy(update={"dtype": "bfloat16"}))
    views = some_views(kind)
    together = as_they_are(rounded, views)
    for view, ours, near in zip(views, together, as_they_are(exact, views), strict=True):
        (alone,) = as_they_are(rounded, [view])
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours, alone, atol=2**-6, rtol=2**-6)
        similar = torch.nn.functional.cosine_similarity(ours.float(), near)
        assert similar.min() > 0.999


@pytest.mark.parametrize("kind", KINDS)
def test_int8_keeps_the_direction_of_a_token(kind: str, tmp_path: Path) -> None:
    tower = Tower(settings(write_tower(tmp_path / "m", kind), stored="int8"))
    views = some_views(kind)
    stored = tower.launch(views).result()
    levels = tower.shape.levels
    worst = 1.0
    for exact, rows in zip(as_they_are(tower, views), stored, strict=True):
        near = exact.to(torch.bfloat16).float()
        worst = min(worst, float(torch.cosine_similarity(near, whole_again(rows, levels)).min()))
    assert worst > 0.999


def whole_again(rows: Rows, levels: int) -> torch.Tensor:
    assert rows.scales is not None
    scales = torch.from_numpy(rows.scales).view(torch.bfloat16).float()
    whole = torch.from_numpy(rows.data).view(torch.int8).float()
    return (whole.view(len(whole), levels, -1) * scales[:, :, None]).view(len(whole), -1)


@pytest.mark.parametrize("frames", [1, 2])
def test_frames_of_a_temporal_patch(frames: int, tmp_path: Path) -> None:
    """A picture is a clip of itself."""
    tower = Tower(settings(write_tower(tmp_path / "m", "qwen2_vl")))
    views = some_views("qwen2_vl", frames)
    model = tiny_model("qwen2_vl")
    for view, ours in zip(views, as_they_are(tower, views), strict=True):
        theirs = by_transformers("qwen2_vl", model, view, "pre_merger")
        torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=TOLERANCE)
