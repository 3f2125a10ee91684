"""`policy = "auto"`: the policy that a checkpoint's own files call for.

`config.json` names the model, `preprocessor_config.json` or `processor_config.json` (transformers 5
puts the settings of pictures into it) the numbers. What they do not state keeps the policy's own
default. Tokens and position ids follow from the kind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from schemas.errors import RecipeError

Fields = Mapping[str, Any]


class Reading(NamedTuple):
    """How the settings of a kind are called in a checkpoint."""

    kind: str
    settings: Mapping[str, Sequence[str]]
    """Ours, and where it may stand: dotted, below `image`, `processor` or `config`."""
    fixed: Mapping[str, Any] = {}
    """Settings that the model has whatever its files say."""
    tiles: str = ""
    """The setting that is 1 where `crop_to_patches` is off."""


def _image(*names: str) -> dict[str, Sequence[str]]:
    """Settings that both call the same."""
    return {name: (f"image.{name}",) for name in names}


_HF = {"variant": "hf_5.23.0"}
_EDGE = {"image_size": ("image.size.height",)}
_TOWER = {"patch_size": ("config.vision_config.patch_size",)}
_AREAS = {
    "min_pixels": ("image.size.shortest_edge", "image.min_pixels"),
    "max_pixels": ("image.size.longest_edge", "image.max_pixels"),
}
_NATIVE = {**_image("patch_size", "merge_size"), **_AREAS}
_GLM = _image("patch_size", "merge_size") | {
    "shortest_edge": ("image.size.shortest_edge",),
    "longest_edge": ("image.size.longest_edge",),
}
_IDEFICS = {
    "image_size": ("image.max_image_size.longest_edge",),
    "longest_edge": ("image.size.longest_edge",),
    "scale_factor": ("config.scale_factor",),
    **_image("do_image_splitting"),
    **_TOWER,
}
_PIXTRAL = {
    "longest_edge": ("image.size.longest_edge",),
    "patch_size": ("processor.patch_size", "image.patch_size.height", "image.patch_size"),
    "spatial_merge_size": ("processor.spatial_merge_size", "config.spatial_merge_size"),
}
_LFM2 = (
    "tile_size",
    "min_tiles",
    "max_tiles",
    "min_image_tokens",
    "max_image_tokens",
    "encoder_patch_size",
    "downsample_factor",
    "max_pixels_tolerance",
    "do_image_splitting",
    "use_thumbnail",
)
_PAN_AND_SCAN = (
    "do_pan_and_scan",
    "pan_and_scan_min_crop_size",
    "pan_and_scan_max_num_crops",
    "pan_and_scan_min_ratio_to_activate",
)

READINGS: Mapping[str, Reading] = {
    "aria": Reading("aria", _image("max_image_size", "min_image_size", "split_image")),
    "aya_vision": Reading(
        "aya_vision",
        {
            **_EDGE,
            **_TOWER,
            **_image("min_patches", "max_patches"),
            "downsample_factor": ("config.downsample_factor",),
        },
        tiles="max_patches",
    ),
    "cohere2_vision": Reading(
        "cohere2_vision",
        {
            **_EDGE,
            **_image("max_patches", "patch_size"),
            "downsample_factor": ("config.downsample_factor",),
        },
    ),
    "deepseek_ocr2": Reading(
        "deepseek_ocr2", _image("crop_to_patches", "min_patches", "max_patches")
    ),
    "emu3": Reading("emu3", _image("spatial_factor", "min_pixels", "max_pixels")),
    "ernie4_5_vl_moe": Reading("ernie4_5_vl", _NATIVE),
    "gemma3": Reading(
        "gemma3",
        {
            **_EDGE,
            **_TOWER,
            **_image(*_PAN_AND_SCAN),
            "image_seq_length": ("processor.image_seq_length", "config.mm_tokens_per_image"),
        },
    ),
    "gemma4": Reading("gemma4", _image("patch_size", "pooling_kernel_size", "max_soft_tokens")),
    "glm46v": Reading("glm4v", _GLM),
    "glm4v": Reading("glm4v", _GLM),
    "glm4v_moe": Reading("glm4v", _GLM),
    "hunyuan_vl": Reading("hunyuan_vl", _NATIVE),
    "idefics3": Reading("idefics3", _IDEFICS),
    "kimi_k25": Reading(
        "kimi_k25", _image("patch_size", "merge_size", "max_patches", "max_patches_per_side")
    ),
    "lfm2_vl": Reading("lfm2_vl", _image(*_LFM2)),
    "llama4": Reading(
        "llama4", {**_EDGE, **_TOWER, **_image("max_patches", "resize_to_max_canvas")}
    ),
    "minicpmv4_6": Reading(
        "minicpmv4_6",
        _image("max_slice_nums", "scale_resolution", "patch_size", "downsample_mode"),
    ),
    "mistral3": Reading("pixtral", _PIXTRAL),
    "mllama": Reading("mllama", {**_EDGE, **_TOWER, **_image("max_image_tiles")}),
    "molmo2": Reading("molmo2", _image("max_crops")),
    "nemotron_h_omni": Reading(
        "nemotron_h_omni",
        _image("patch_size", "merge_size", "min_num_patches", "max_num_patches", "max_model_len"),
    ),
    "ovis2": Reading(
        "ovis2",
        {
            **_EDGE,
            **_TOWER,
            **_image("min_patches", "max_patches", "use_covering_area_grid"),
            "image_seq_length": ("processor.image_seq_length",),
        },
        _HF,
        tiles="max_patches",
    ),
    "paddleocr_vl": Reading("paddleocr_vl", _NATIVE),
    "perception_lm": Reading(
        "perception_lm",
        {
            **_image("tile_size", "max_num_tiles"),
            "patch_size": ("processor.patch_size",),
            "pooling_ratio": ("processor.pooling_ratio", "config.projector_pooling_ratio"),
        },
    ),
    "phi4_multimodal": Reading("phi4_multimodal", {**_EDGE, **_image("dynamic_hd", "patch_size")}),
    "pixtral": Reading("pixtral", _PIXTRAL),
    "qwen2_5_vl": Reading("qwen2_5_vl", _NATIVE, _HF),
    "qwen2_vl": Reading("qwen2_vl", _NATIVE, _HF),
    "qwen3_vl": Reading("qwen3_vl", _NATIVE, _HF),
    "smolvlm": Reading("idefics3", _IDEFICS),
    "video_llama_3": Reading("video_llama_3", _NATIVE),
}
"""By `model_type` of transformers."""


def policy_of(directory: Path, key: str) -> dict[str, Any]:
    """Kind and settings of a `[[policy]]`. Raises RecipeError, naming `key` and the file."""
    config = _object(directory / "config.json", key)
    if config is None:
        raise RecipeError(f"{key}: {directory} has no config.json")
    processor = _object(directory / "processor_config.json", key) or {}
    image = processor.get("image_processor") or _object(directory / "preprocessor_config.json", key)
    if not isinstance(image, dict):
        what = "processor_config.json with image_processor, nor preprocessor_config.json"
        raise RecipeError(f"{key}: {directory} has no {what}")
    reading = READINGS.get(_model_type(config))
    if reading is None:
        known = ", ".join([*READINGS, "llava with a pixtral tower"])
        what = f"model_type {config.get('model_type')!r} is not known (known: {known})"
        raise RecipeError(f"{key}: {directory / 'config.json'}: {what}")
    places = {"image": image, "processor": processor, "config": config}
    found = {name: _first(places, paths) for name, paths in reading.settings.items()}
    settings = {name: value for name, value in found.items() if value is not None}
    if reading.tiles and not image.get("crop_to_patches", False):
        settings.pop("min_patches", None)
        settings[reading.tiles] = 1
    return {"kind": reading.kind, **reading.fixed, **settings}


def _model_type(config: Fields) -> str:
    """LLaVA is the name of many: that with Pixtral's tower is Pixtral."""
    tower = config.get("vision_config")
    pixtral = isinstance(tower, dict) and tower.get("model_type") == "pixtral"
    name = str(config.get("model_type"))
    return "pixtral" if name == "llava" and pixtral else name


def _first(places: Fields, paths: Sequence[str]) -> Any:
    """The first of these places that holds a plain value."""
    for path in paths:
        value: Any = places
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, bool | int | float | str):
            return value
    return None


def _object(path: Path, key: str) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{key}: {path}: {error!s:.200}") from error
    if not isinstance(found, dict):
        raise RecipeError(f"{key}: {path}: expected an object")
    return found
