"""Towers for the benchmark of features: random weights in the shapes of released ones, or small.

Weights do not change how long a tower takes. A checkpoint is written once and then loaded as any.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pipelines.load_recipe import load_policy
from schemas.sized import images
from workers.encoders.patching import View


@dataclass(frozen=True)
class TowerSize:
    """What a tower's time depends on: layers, channels, those inside its MLP, values of a patch."""

    layers: int
    channels: int
    inner: int
    patch_values: int

    def flops(self, view: View) -> int:
        """Of a view's matrix products, two for each multiplication with an addition."""
        dense = self.layers * (8 * self.channels**2 + 4 * self.channels * self.inner)
        embedding = 2 * self.patch_values * self.channels
        attention = 4 * self.layers * self.channels * view.patches**2
        return view.patches * (dense + embedding) + attention


@dataclass(frozen=True)
class Tower:
    """A kind of tower with the policy that feeds it."""

    kind: str
    policy: str
    size: TowerSize
    config: Mapping[str, Any]


def towers(scale: str) -> dict[str, Tower]:
    """By name: `so400m` and `qwen2_vl` in their real shapes, or with few layers (`small`)."""
    real = scale == "full"
    layers, channels = (27, 1152) if real else (6, 384)
    inner, heads = (4304, 16) if real else (1536, 6)
    siglip = {
        "hidden_size": channels,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "image_size": 384,
        "patch_size": 14,
    }
    depth, embed = (32, 1280) if real else (6, 384)
    qwen = {"depth": depth, "embed_dim": embed, "hidden_size": 3584 if real else 512}
    qwen |= {"num_heads": 16 if real else 6, "mlp_ratio": 4}
    squares = 'kind = "llava_onevision"\ngrid_spec = "(1x1),...,(2x2)"\nvariant = "hf_5.23.0"'
    pixels = 1003520 if real else 200704
    return {
        "siglip": Tower("siglip", squares, TowerSize(layers, channels, inner, 588), siglip),
        "qwen2_vl": Tower(
            "qwen2_vl",
            f'kind = "qwen2_vl"\nmax_pixels = {pixels}',
            TowerSize(depth, embed, 4 * embed, 1176),
            qwen,
        ),
    }


def of_a_million(tower: Tower, files: Sequence[Path]) -> dict[str, float]:
    """What a million such pictures cost: patches, bytes of their rows, operations; by arithmetic
    from their sizes alone.
    """
    sizes = []
    for file in files:
        with Image.open(file) as picture:
            sizes.append(picture.size)
    width, height = (np.array(side) for side in zip(*sizes, strict=True))
    kind, *settings = (line.replace(" = ", "=", 1) for line in tower.policy.splitlines())
    policy = load_policy(json.loads(kind.removeprefix("kind=")), settings)
    sized = policy.size(images(width, height))
    whole = np.zeros((0, 0, 3), np.uint8)
    views = [View(whole, rows, columns) for _, rows, columns in sized.grid_thw.values.tolist()]
    patches = sum(view.patches for view in views)
    share = 1e6 / len(files)
    return {
        "patches": patches * share,
        "bfloat16_bytes": 2 * patches * tower.size.channels * share,
        "int8_bytes": patches * (tower.size.channels + 2) * share,
        "flops": sum(tower.size.flops(view) for view in views) * share,
    }


def write_checkpoint(tower: Tower, folder: Path) -> Path:
    """A checkpoint with random weights; one that is there stays."""
    if (folder / "config.json").exists():
        if json.loads((folder / "shape.json").read_text()) != dict(tower.config):
            raise SystemExit(f"{folder} holds a tower of another shape; remove it")
        return folder
    torch.manual_seed(0)
    model: Any
    if tower.kind == "siglip":
        from transformers import SiglipVisionConfig, SiglipVisionModel

        model = SiglipVisionModel(SiglipVisionConfig(**tower.config, vision_use_head=False))
    else:
        from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
        from transformers.models.qwen2_vl.modeling_qwen2_vl import (
            Qwen2VisionTransformerPretrainedModel,
        )

        model = Qwen2VisionTransformerPretrainedModel(Qwen2VLVisionConfig(**tower.config))
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "shape.json").write_text(json.dumps(dict(tower.config)))
    return folder


def matmul_flops(device: str, dtype: torch.dtype) -> float:
    """Operations a second of one large matrix product: what a tower can reach at most."""
    side = 8192 if device == "cuda" else 2048
    a = torch.randn(side, side, device=device).to(dtype)
    b = torch.randn(side, side, device=device).to(dtype)
    best = 0.0
    for _ in range(8):
        seconds = _seconds(device, lambda: a @ b)
        best = max(best, 2 * side**3 / seconds)
    return best


def _seconds(device: str, work: Any) -> float:
    import time

    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began
