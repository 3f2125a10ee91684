"""Tiny checkpoints with random weights, written as transformers writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.internvl.configuration_internvl import InternVLVisionConfig
from transformers.models.internvl.modeling_internvl import InternVLVisionModel
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
)
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

from patchpack.patches import CLIP, HALF, IMAGENET, Normalization, flat_patches, normalized
from workers.encoders.patching import View

_SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
_DEPTH = 3

KINDS = ("clip", "siglip", "siglip2", "internvit", "qwen2_vl", "qwen2_5_vl", "qwen3_vl")

NORMALIZATION = dict.fromkeys(KINDS, HALF) | {
    "clip": CLIP,
    "internvit": IMAGENET,
    "qwen2_vl": CLIP,
    "qwen2_5_vl": CLIP,
}


def tiny_model(kind: str, **settings: Any) -> Any:
    """A tower with random weights: as large as the shapes allow, and no larger."""
    torch.manual_seed(0)
    model: Any
    if kind == "clip":
        config = _SMALL | {"num_hidden_layers": _DEPTH, "image_size": 28, "patch_size": 14}
        model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**(config | settings)))
    elif kind == "siglip":
        config = _SMALL | {"num_hidden_layers": _DEPTH, "image_size": 30, "patch_size": 14}
        model = transformers.SiglipVisionModel(
            transformers.SiglipVisionConfig(**(config | settings))
        )
    elif kind == "siglip2":
        config = _SMALL | {"num_hidden_layers": _DEPTH, "patch_size": 16, "num_patches": 16}
        model = transformers.Siglip2VisionModel(
            transformers.Siglip2VisionConfig(**(config | settings))
        )
    elif kind == "internvit":
        config = _SMALL | {"num_hidden_layers": _DEPTH, "image_size": [56, 56]}
        model = InternVLVisionModel(
            InternVLVisionConfig(**(config | {"patch_size": [14, 14]} | settings))
        )
    elif kind == "qwen2_vl":
        model = Qwen2VisionTransformerPretrainedModel(
            Qwen2VLVisionConfig(
                **({"depth": _DEPTH, "embed_dim": 32, "hidden_size": 48, "num_heads": 2} | settings)
            )
        )
    elif kind == "qwen2_5_vl":
        config = {"depth": _DEPTH, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2}
        config |= {"out_hidden_size": 48, "fullatt_block_indexes": [1], "window_size": 56}
        model = Qwen2_5_VisionTransformerPretrainedModel(
            Qwen2_5_VLVisionConfig(**(config | settings))
        )
    else:
        config = {"depth": _DEPTH, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2}
        config |= {"out_hidden_size": 48, "deepstack_visual_indexes": [0, 1]}
        config |= {"num_position_embeddings": 36}
        model = Qwen3VLVisionModel(Qwen3VLVisionConfig(**(config | settings)))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # initial weights are so small, or zero, that a wrong order would hardly show
            if "pos" in name or "cls" in name or "class" in name:
                weight.normal_()
            elif weight.dim() > 1:
                weight.normal_(std=weight[0].numel() ** -0.5)
            else:
                weight.add_(torch.randn_like(weight) * 0.1)
    return model.eval()


def write_tower(folder: Path, kind: str, **settings: Any) -> Path:
    """The checkpoint of a tiny tower."""
    model = tiny_model(kind, **settings)
    model.save_pretrained(folder)
    return folder


def write_whole(folder: Path, kind: str, prefix: str, **settings: Any) -> Path:
    """The tower as a part of a larger checkpoint, under a prefix, beside other weights."""
    from safetensors.torch import save_file

    model = tiny_model(kind, **settings)
    folder.mkdir(parents=True)
    weights = {prefix + name: one.contiguous() for name, one in model.state_dict().items()}
    weights["language_model.lm_head.weight"] = torch.zeros(4, 4)
    save_file(weights, folder / "model.safetensors")
    config = {"model_type": "a_model", "vision_config": model.config.to_dict()}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def by_transformers(kind: str, model: Any, view: View, at: str = "pre_merger") -> torch.Tensor:
    """One picture alone, by the model's own forward."""
    norm = NORMALIZATION[kind]
    with torch.inference_mode():
        if kind in ("clip", "siglip", "internvit"):
            pixels = torch.from_numpy(normalized(view.pixels[0], norm))[None]
            out = model(pixel_values=pixels, output_hidden_states=True)
            if kind == "clip":
                return torch.as_tensor(out.hidden_states[-2][0, 1:])
            if kind == "siglip":
                return torch.as_tensor(out.hidden_states[-1][0])
            return _shuffled_by_internvl(out.last_hidden_state[:, 1:])
        if kind == "siglip2":
            patches = _by_siglip2(view, norm)
            shape = torch.tensor([[view.rows, view.columns]])
            mask = torch.ones(1, len(patches), dtype=torch.int64)
            return torch.as_tensor(model(patches[None], mask, shape).last_hidden_state[0])
        pictures = list(view.pixels)
        grid = [1, view.rows, view.columns]
        patches = torch.from_numpy(flat_patches(pictures, grid, norm))
        out = model(patches, torch.tensor([grid]), output_hidden_states=True)
        if at == "post_merger":
            return torch.cat([out.pooler_output, *_deep_of(out)], dim=1)
        last = out.last_hidden_state
        if kind == "qwen2_5_vl":
            return _in_merge_order(last, grid)
        deep = getattr(model.config, "deepstack_visual_indexes", ())
        return torch.cat([last, *(out.hidden_states[number + 1] for number in deep)], dim=1)


def _deep_of(out: Any) -> list[torch.Tensor]:
    return list(getattr(out, "deepstack_features", None) or ())


def _in_merge_order(hidden: torch.Tensor, grid: list[int]) -> torch.Tensor:
    from transformers.vision_utils import get_vision_window_index

    index, _ = get_vision_window_index(
        torch.tensor([grid]), spatial_merge_size=2, window_size=56, patch_size=14
    )
    back = torch.argsort(index)
    return hidden.view(len(index), 4, -1)[back].view(len(hidden), -1)


def _by_siglip2(view: View, norm: Normalization) -> torch.Tensor:
    from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

    return torch.from_numpy(convert_image_to_patches(normalized(view.pixels[0], norm), 16))


def _shuffled_by_internvl(hidden: torch.Tensor) -> torch.Tensor:
    from transformers.models.internvl.modeling_internvl import InternVLModel

    side = int(hidden.shape[1] ** 0.5)
    square = hidden.reshape(1, side, side, -1)
    shuffle: Any = InternVLModel.pixel_shuffle
    return torch.as_tensor(shuffle(None, square, 0.5).flatten(0, 2))
