"""A tower from the files of a checkpoint: its configuration, its shape, its weights.

Importing this imports torch; `transformers` comes with the first call (seconds).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from patchpack.patches import CLIP, HALF, IMAGENET, Normalization
from schemas.errors import RecipeError
from workers.encoders.config import EncoderConfig
from workers.encoders.shape import Family, TowerShape
from workers.encoders.tower_files import (
    model_directory,
    processor_settings,
    read_json,
    tower_tensors,
)

_FAMILIES: Mapping[str, Family] = {
    "clip_vision_model": "clip",
    "siglip_vision_model": "siglip",
    "siglip2_vision_model": "siglip2",
    "internvl_vision": "internvit",
    "qwen2_vl_vision": "qwen2_vl",
    "qwen2_5_vl_vision": "qwen2_5_vl",
    "qwen3_vl_vision": "qwen3_vl",
}
"""By `model_type` of the vision configuration."""

_CLASSES: Mapping[Family, tuple[str, str, str]] = {
    "clip": ("clip", "CLIPVisionConfig", "CLIPVisionModel"),
    "siglip": ("siglip", "SiglipVisionConfig", "SiglipVisionModel"),
    "siglip2": ("siglip2", "Siglip2VisionConfig", "Siglip2VisionModel"),
    "internvit": ("internvl", "InternVLVisionConfig", "InternVLVisionModel"),
    "qwen2_vl": ("qwen2_vl", "Qwen2VLVisionConfig", "Qwen2VisionTransformerPretrainedModel"),
    "qwen2_5_vl": (
        "qwen2_5_vl",
        "Qwen2_5_VLVisionConfig",
        "Qwen2_5_VisionTransformerPretrainedModel",
    ),
    "qwen3_vl": ("qwen3_vl", "Qwen3VLVisionConfig", "Qwen3VLVisionModel"),
}
_NORMALIZATION: Mapping[Family, Normalization] = {
    "clip": CLIP,
    "internvit": IMAGENET,
    "qwen2_vl": CLIP,
    "qwen2_5_vl": CLIP,
}

DTYPES = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}


def vision_config(directory: Path) -> tuple[Family, Any, Mapping[str, Any]]:
    """The family, transformers' configuration of the tower, and the settings of the whole model.

    Raises RecipeError with the types that are known.
    """
    import transformers
    from huggingface_hub.errors import StrictDataclassError

    raw = read_json(directory, "config.json")
    inner = raw.get("vision_config")
    whole = str(raw.get("model_type", ""))
    stated = dict(inner) if isinstance(inner, dict) else raw
    kind = str(stated.get("model_type", ""))
    if kind not in _FAMILIES and whole in {**transformers.CONFIG_MAPPING}:
        # older files name the tower as the whole model, or not at all
        try:
            config = transformers.AutoConfig.from_pretrained(directory)
            kind = getattr(getattr(config, "vision_config", None), "model_type", kind)
        except (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError) as error:
            what = " ".join(str(error).split())
            raise RecipeError(f"{directory}/config.json: {what}") from error
    if kind not in _FAMILIES:
        known = ", ".join(_FAMILIES)
        raise RecipeError(f'{directory}: no tower of type "{kind or whole}" is known, but {known}')
    family = _FAMILIES[kind]
    module, config_class, _ = _CLASSES[family]
    classes = _module(module, f"configuration_{module}")
    stated.pop("model_type", None)
    try:
        return family, getattr(classes, config_class)(**stated), raw
    except (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError) as error:
        what = " ".join(str(error).split())
        raise RecipeError(f"{directory}/config.json: {what}") from error


def tower_shape(config: EncoderConfig) -> TowerShape:
    """What the tower takes and gives. Raises RecipeError for settings that it does not have."""
    directory = model_directory(config.model)
    family, vision, whole = vision_config(directory)
    if config.resolution == "native":
        if family != "siglip":
            raise RecipeError(f'render.encoder.resolution: "native" is for SigLIP, not {family}')
        family = "siglip_native"
    qwen = family in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
    at = config.at or ("pre_merger" if qwen else "tower")
    if qwen != (at != "tower"):
        choices = '"pre_merger" or "post_merger"' if qwen else '"tower"'
        raise RecipeError(f'render.encoder.at = "{at}": {family} has {choices}')
    if qwen and config.layer is not None:
        raise RecipeError(f"render.encoder.layer: {family} has none to choose")
    side, channels, levels = 1, int(vision.hidden_size), 1
    merge = int(getattr(vision, "spatial_merge_size", 1))
    if qwen:
        merged = int(vision.hidden_size if family == "qwen2_vl" else vision.out_hidden_size)
        inner = int(vision.embed_dim if family == "qwen2_vl" else vision.hidden_size)
        side, channels = (merge, merged) if at == "post_merger" else (1, inner)
        levels += len(getattr(vision, "deepstack_visual_indexes", ()))
    if family == "internvit":
        side = round(1 / float(whole.get("downsample_ratio", 0.5)))
        channels *= side**2
    fixed = family in ("clip", "siglip", "internvit")
    return TowerShape(
        family=family,
        patch_size=_one(vision.patch_size),
        image_size=_one(vision.image_size) if fixed else 0,
        merge=merge,
        temporal_patch_size=int(getattr(vision, "temporal_patch_size", 1)),
        side=side,
        channels=channels,
        levels=levels,
        normalization=_normalization(directory, family),
    )


def load_model(config: EncoderConfig) -> tuple[Family, Any]:
    """The family and transformers' model with the checkpoint's weights, in evaluation mode.

    Raises RecipeError where weights are missing or have another shape.
    """
    from safetensors import safe_open
    from transformers.initialization import no_init_weights

    directory = model_directory(config.model)
    family, vision, _ = vision_config(directory)
    module, _, name = _CLASSES[family]
    if hasattr(vision, "vision_use_head"):
        vision.vision_use_head = False
    with no_init_weights():
        model = getattr(_module(module, f"modeling_{module}"), name)(vision)
    wanted = model.state_dict()
    weights = {}
    for one in tower_tensors(directory):
        if one.name in wanted:
            with safe_open(one.file, "pt") as file:
                weights[one.name] = file.get_tensor(one.stored_name)
    missing = [key for key in wanted if key not in weights]
    if missing:
        raise RecipeError(f"{directory} lacks {len(missing)} weights of {name}: {missing[0]}, …")
    odd = [key for key in weights if weights[key].shape != wanted[key].shape]
    if odd:
        sizes = f"{list(weights[odd[0]].shape)}, {list(wanted[odd[0]].shape)} by config.json"
        raise RecipeError(f"{directory}: {odd[0]} has the shape {sizes}")
    model.load_state_dict(weights, strict=False)
    return family, model.to(DTYPES[config.dtype]).eval().requires_grad_(requires_grad=False)


def _module(package: str, name: str) -> Any:
    """A module of one model; importing `transformers` alone does not import it."""
    import importlib

    return importlib.import_module(f"transformers.models.{package}.{name}")


def _one(size: int | list[int] | tuple[int, ...]) -> int:
    """A side that may be given twice."""
    return int(size if isinstance(size, int) else size[0])


def _normalization(directory: Path, family: Family) -> Normalization:
    """The checkpoint's own, or the family's."""
    settings = processor_settings(directory)
    mean, std = settings.get("image_mean"), settings.get("image_std")
    if mean is None or std is None:
        return _NORMALIZATION.get(family, HALF)
    try:
        (r, g, b), (x, y, z) = map(float, mean), map(float, std)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{directory}: image_mean, image_std: {error}") from error
    return Normalization((r, g, b), (x, y, z))
