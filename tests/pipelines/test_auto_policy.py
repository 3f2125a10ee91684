"""`auto`: a checkpoint's own files say which policy reads its pictures."""

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from pipelines.checkpoint_policy import READINGS, policy_of
from pipelines.load_recipe import load_policy, load_recipe
from schemas.errors import RecipeError

RECIPE = """
name = "auto"
{policy}

[[sources]]
name = "some"
kind = "records"
path = "records.jsonl"

[output]
path = "out"
"""

PROCESSORS: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    # model_type: image processor, its settings, the model's config, what must be found
    "aria": ("Aria", {"max_image_size": 490, "split_image": True}, {}, {"max_image_size": 490}),
    "aya_vision": (
        "GotOcr2",
        {"size": {"height": 56, "width": 56}, "crop_to_patches": True, "max_patches": 6},
        {"vision_config": {"patch_size": 7}, "downsample_factor": 4},
        {"image_size": 56, "max_patches": 6, "patch_size": 7, "downsample_factor": 4},
    ),
    "deepseek_ocr2": ("DeepseekOcr2", {"max_patches": 9}, {}, {"max_patches": 9}),
    "gemma3": (
        "Gemma3",
        {"size": {"height": 448, "width": 448}, "do_pan_and_scan": True},
        {"vision_config": {"patch_size": 14}, "mm_tokens_per_image": 64},
        {"image_size": 448, "do_pan_and_scan": True, "image_seq_length": 64},
    ),
    "gemma4": ("Gemma4", {"max_soft_tokens": 70}, {}, {"max_soft_tokens": 70}),
    "glm4v": (
        "Glm4v",
        {"size": {"shortest_edge": 12544, "longest_edge": 802816}},
        {},
        {"shortest_edge": 12544, "longest_edge": 802816},
    ),
    "hunyuan_vl": (
        "HunYuanVL",
        {"size": {"shortest_edge": 65536, "longest_edge": 1048576}},
        {},
        {"min_pixels": 65536, "max_pixels": 1048576},
    ),
    "idefics3": (
        "Idefics3",
        {"size": {"longest_edge": 1536}, "max_image_size": {"longest_edge": 384}},
        {"vision_config": {"patch_size": 14}, "scale_factor": 3},
        {"image_size": 384, "longest_edge": 1536, "patch_size": 14, "scale_factor": 3},
    ),
    "mistral3": (
        "Pixtral",
        {"size": {"longest_edge": 1540}, "patch_size": {"height": 14, "width": 14}},
        {"spatial_merge_size": 2},
        {"longest_edge": 1540, "patch_size": 14, "spatial_merge_size": 2},
    ),
    "mllama": (
        "Mllama",
        {"size": {"height": 560, "width": 560}, "max_image_tiles": 3},
        {"vision_config": {"patch_size": 14}},
        {"image_size": 560, "max_image_tiles": 3},
    ),
    "ovis2": (
        "Ovis2",
        {"size": {"height": 448, "width": 448}, "crop_to_patches": True, "max_patches": 9},
        {"vision_config": {"patch_size": 14}},
        {"variant": "hf_5.23.0", "image_size": 448, "max_patches": 9},
    ),
    "paddleocr_vl": (
        "PaddleOCRVL",
        {"size": {"shortest_edge": 3136, "longest_edge": 1003520}},
        {},
        {"min_pixels": 3136, "max_pixels": 1003520},
    ),
    "qwen2_vl": (
        "Qwen2VL",
        {"size": {"shortest_edge": 3136, "longest_edge": 501760}},
        {},
        {"variant": "hf_5.23.0", "min_pixels": 3136, "max_pixels": 501760},
    ),
}


def checkpoint(folder: Path, model_type: str) -> Path:
    """Its config, and its picture settings as its own image processor saves them."""
    name, settings, config, _ = PROCESSORS[model_type]
    getattr(transformers, f"{name}ImageProcessorPil")(**settings).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, **config}))
    return folder


@pytest.mark.parametrize("model_type", PROCESSORS)
def test_a_checkpoint_s_policy_has_its_settings(model_type: str, tmp_path: Path) -> None:
    found = policy_of(checkpoint(tmp_path, model_type), "checkpoint")
    assert PROCESSORS[model_type][3].items() <= found.items()
    assert found["kind"] == READINGS[model_type].kind
    policy = load_policy("auto", [f'checkpoint="{tmp_path}"'])
    assert policy.kind == found["kind"]


def test_settings_may_lie_in_the_processor_s_file(tmp_path: Path) -> None:
    image = {"size": {"longest_edge": 1540}, "patch_size": 14}
    processor = {"image_processor": image, "patch_size": 14, "spatial_merge_size": 2}
    (tmp_path / "processor_config.json").write_text(json.dumps(processor))
    config = {"model_type": "llava", "vision_config": {"model_type": "pixtral"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    wanted = {"longest_edge": 1540, "patch_size": 14, "spatial_merge_size": 2}
    assert policy_of(tmp_path, "checkpoint") == {"kind": "pixtral", **wanted}


def test_without_crops_there_is_one_tile(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text('{"min_patches": 2, "max_patches": 12}')
    (tmp_path / "config.json").write_text('{"model_type": "aya_vision"}')
    assert policy_of(tmp_path, "checkpoint") == {"kind": "aya_vision", "max_patches": 1}


@pytest.mark.parametrize(
    "policy",
    [
        'policy = "auto"\ncheckpoint = "{checkpoint}"',
        '[[policy]]\nkind = "auto"\ncheckpoint = "{checkpoint}"',
    ],
)
def test_a_recipe_takes_it(policy: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    written = policy.format(checkpoint=checkpoint(tmp_path, "gemma4"))
    path.write_text(RECIPE.format(policy=written))
    recipe = load_recipe(path)
    assert recipe.policy[0].policy.kind == "gemma4"
    assert recipe.policy[0].policy.model_dump()["max_soft_tokens"] == 70
    assert recipe.text.family == "gemma4"


def test_a_setting_in_the_recipe_goes_before(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    rule = f'[[policy]]\nkind = "auto"\ncheckpoint = "{checkpoint(tmp_path, "gemma4")}"'
    path.write_text(RECIPE.format(policy=f"{rule}\nmax_soft_tokens = 560"))
    assert load_recipe(path).policy[0].policy.model_dump()["max_soft_tokens"] == 560


def test_another_policy_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    written = f'policy = "auto"\ncheckpoint = "{checkpoint(tmp_path, "gemma4")}"'
    path.write_text(RECIPE.format(policy=written))
    assert load_recipe(path, "pixtral?longest_edge=512").policy[0].policy.kind == "pixtral"
    other = checkpoint(tmp_path, "glm4v")
    assert load_recipe(path, f'auto?checkpoint="{other}"').policy[0].policy.kind == "glm4v"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "has no config.json"),
        ({"config.json": '{"model_type": "gemma4"}'}, "nor preprocessor_config.json"),
        ({"config.json": "{"}, "config.json: "),
        ({"config.json": "[]"}, "expected an object"),
        (
            {"config.json": '{"model_type": "bert"}', "preprocessor_config.json": "{}"},
            "model_type 'bert' is not known .known: aria, ",
        ),
    ],
)
def test_what_is_no_known_checkpoint_is_told(
    files: dict[str, str], told: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(RecipeError, match=f"--set checkpoint: .*{told}"):
        load_policy("auto", [f'checkpoint="{tmp_path}"'])


@pytest.mark.parametrize("value", ["3", '"nowhere"'])
def test_auto_needs_a_directory(value: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(policy=f'policy = "auto"\ncheckpoint = {value}'))
    with pytest.raises(RecipeError, match=r"policy.0.checkpoint: .auto. needs the directory"):
        load_recipe(path)


def test_a_number_of_the_wrong_kind_is_told_as_any(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text('{"max_soft_tokens": "many"}')
    (tmp_path / "config.json").write_text('{"model_type": "gemma4"}')
    with pytest.raises(RecipeError, match="max_soft_tokens"):
        load_policy("auto", [f'checkpoint="{tmp_path}"'])
