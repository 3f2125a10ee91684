"""A pack gives each of its samples what the model gives it alone: logits, loss and gradients.

Tiny models with random weights so wide that samples which see each other differ by more than 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

from patchpack.collate import Collated, block_diagonal_mask, collate, for_transformers
from patchpack.layout import Pack
from patchpack.patches import CLIP
from patchpack.vision_inputs import flat_inputs, tile_inputs
from tests.pipelines.conftest import Here, build_in, packs_of
from tests.tiny_source import write_source
from workers.bytes_tokenizer import BytesTokenizer

Inputs = dict[str, torch.Tensor]
POLICIES = {
    "qwen2_vl": 'kind = "qwen2_vl"\nmax_pixels = 12544',
    "qwen2_5_vl": 'kind = "qwen2_5_vl"\nmax_pixels = 12544',
    "llava15": 'kind = "llava15"\nimage_size = 56',
}
MOST = {torch.float32: 3e-5, torch.float64: 1e-12}
"""float32 is 0.7e-5 or 1.5e-5 by the processor's kernels, which order their sums by length."""
IMAGE, VIDEO, LLAVA_IMAGE = map(
    BytesTokenizer().special, ("<|image_pad|>", "<|video_pad|>", "<image>")
)
TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "vocab_size": BytesTokenizer.vocab_size,
    "initializer_range": 0.25,
}


ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
QWEN: dict[str, Any] = {
    "text_config": {**TEXT, "rope_parameters": ROPE},
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
}


class Case:
    """A model and the packs that are made for it."""

    def __init__(self, kind: str, packs: Sequence[Pack]) -> None:
        self.kind, self.packs = kind, packs

    def model(self, dtype: torch.dtype) -> Any:
        torch.manual_seed(1)
        made = {"qwen2_vl": qwen2_vl, "qwen2_5_vl": qwen2_5_vl, "llava15": llava}[self.kind]()
        return made.to(dtype).eval()

    def pixels(self, pack: Pack, dtype: torch.dtype) -> Inputs:
        found = tile_inputs(pack, CLIP) if self.kind == "llava15" else flat_inputs(pack, CLIP)
        return {name: values.to(dtype) for name, values in found.items()}


def qwen2_vl() -> Any:
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2}
    return Qwen2VLForConditionalGeneration(Qwen2VLConfig(vision_config=vision, **QWEN))


def qwen2_5_vl() -> Any:
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "out_hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "fullatt_block_indexes": [1],
    }
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(vision_config=vision, **QWEN))


def llava() -> Any:
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
    )
    config = LlavaConfig(
        text_config=LlamaConfig(**TEXT), vision_config=vision, image_token_index=LLAVA_IMAGE
    )
    return LlavaForConditionalGeneration(config)


@pytest.fixture(scope="module", params=POLICIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    root = tmp_path_factory.mktemp(request.param)
    write_source(root / "source", 10)
    built = build_in(root, Here(), policy=POLICIES[request.param], max_tokens=400)
    packs = [pack for pack in packs_of(root / "out", built) if pack.header.samples > 1]
    assert {"image", "video"} <= {kind for pack in packs for kind in pack.header.item_kind}
    return Case(request.param, packs)


def logits_of(model: Any, batch: dict[str, Any], pixels: Inputs) -> torch.Tensor:
    found: torch.Tensor = model(**batch, **pixels).logits[0]
    return found


def alone(pack: Pack, pixels: Inputs, collated: Collated) -> list[tuple[dict[str, Any], Inputs]]:
    """Every sample with its own part of each input, positions among them."""
    whole, found = for_transformers(collated), []
    kinds = np.array(pack.header.item_kind)
    videos = kinds[pack.arrays.grid_item] == "video"
    sample = np.array(pack.header.item_sample, np.int64)[pack.arrays.grid_item]
    tiled = "pixel_values" in pixels and pixels["pixel_values"].ndim == 4
    for number, (first, last) in enumerate(pairwise(collated.cu_seqlens.tolist())):
        batch = {
            name: value[..., first:last]
            for name, value in whole.items()
            if name in ("input_ids", "labels", "position_ids") and isinstance(value, torch.Tensor)
        }
        parts: Inputs = {}
        for name, grid_name, which in (
            ("pixel_values", "image_grid_thw", np.full(len(videos), True) if tiled else ~videos),
            ("pixel_values_videos", "video_grid_thw", videos),
        ):
            if name not in pixels:
                continue
            grids = pack.arrays.grid_thw[which].astype(np.int64)
            sizes = grids[:, 0] if tiled else grids.prod(axis=1)
            mine = sample[which] == number
            if mine.any():
                parts[name] = pixels[name][torch.from_numpy(np.repeat(mine, sizes))]
                if not tiled:
                    batch[grid_name] = torch.from_numpy(grids[mine])
        found.append(({**batch, "use_cache": False}, parts))
    return found


@pytest.mark.parametrize("dtype", MOST, ids=str)
def test_logits(case: Case, dtype: torch.dtype) -> None:
    model = case.model(dtype)
    largest = 0.0
    with torch.no_grad():
        for pack in case.packs:
            collated, pixels = collate(pack), case.pixels(pack, dtype)
            packed = logits_of(model, for_transformers(collated), pixels)
            parts = alone(pack, pixels, collated)
            separate = torch.cat([logits_of(model, batch, part) for batch, part in parts])
            largest = max(largest, packed.abs().max().item())
            assert (packed - separate).abs().max() <= MOST[dtype]
    assert largest > 2  # else the numbers would say little


def test_a_step_has_the_same_loss_and_gradients(case: Case) -> None:
    pack = max(case.packs, key=lambda one: one.header.items)
    collated, pixels = collate(pack), case.pixels(pack, torch.float64)
    targets = int((collated.labels >= 0).sum())
    assert targets == sum(pack.header.loss_tokens)
    gradients, losses = [], []
    for batches in (
        [(for_transformers(collated), pixels)],
        alone(pack, pixels, collated),
    ):
        model = case.model(torch.float64)
        total: Any = sum(
            model(**batch, **part, num_items_in_batch=targets).loss for batch, part in batches
        )
        total.backward()
        losses.append(total.item())
        gradients.append([p.grad for p in model.parameters()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)  # transformers computes it in float32
    assert sum(one is not None for one in gradients[0]) > 20
    largest = 0.0
    for packed, separate in zip(*gradients, strict=True):
        assert (packed is None) == (separate is None)
        if packed is not None and separate is not None:
            assert (packed - separate).abs().max() <= MOST[torch.float64]
            largest = max(largest, packed.abs().max().item())
    assert largest > 0.01


def test_a_missing_boundary_and_wrong_positions_are_seen(case: Case) -> None:
    pack = max(case.packs, key=lambda one: one.header.items)
    model, dtype = case.model(torch.float64), torch.float64
    collated, pixels = collate(pack), case.pixels(pack, torch.float64)
    straight = np.arange(pack.header.length)
    joined = replace(
        collated,
        text_positions=straight,
        position_ids=straight[None] if case.kind == "llava15" else collated.position_ids,
    )
    wrong = [joined]
    if case.kind != "llava15":
        plain = np.tile(collated.text_positions, (3, 1))
        wrong.append(replace(collated, position_ids=plain))
    with torch.no_grad():
        right = logits_of(model, for_transformers(collated), pixels)
        for one in wrong:
            assert (logits_of(model, for_transformers(one), pixels) - right).abs().max() > 1
        ids = for_transformers(collated)["position_ids"]
        mask = torch.from_numpy(block_diagonal_mask(collated.cu_seqlens))[None, None]
        given = {**for_transformers(collated), "attention_mask": mask}
        if case.kind != "llava15":
            assert isinstance(ids, torch.Tensor)
            given["position_ids"] = ids[1:]
        masked = logits_of(model, given, pixels)
        assert (masked - right).abs().max() <= MOST[dtype]


def test_padding_changes_no_sample(case: Case) -> None:
    model = case.model(torch.float64)
    for pack in case.packs[:2]:
        pixels, plain = case.pixels(pack, torch.float64), collate(pack)
        padded = collate(pack, segment_multiple=16, length=608)
        starts = zip(plain.cu_seqlens, padded.cu_seqlens, plain.lengths, strict=False)
        with torch.no_grad():
            right = logits_of(model, for_transformers(plain), pixels)
            found = logits_of(model, for_transformers(padded), pixels)
        assert len(found) == 608
        for here, there, length in starts:
            ours, theirs = found[there : there + length], right[here : here + length]
            assert (ours - theirs).abs().max() <= MOST[torch.float64]
