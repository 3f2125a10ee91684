"""Pictures drawn by a checkpoint's policy equal those of its image processor, pixel by pixel.

Of every family of the zoo whose processor transformers has for Pillow; values are compared before
rescaling and normalisation.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import transformers
from PIL import Image

from patchpack.drawing import cut, draw, opaque
from patchpack.patches import Normalization, flat_patches
from pipelines.load_recipe import load_policy
from schemas.sized import images
from workers.policies.protocol import Policy

Array = npt.NDArray[Any]
AS_THEY_ARE = Normalization((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
TOWER = {"vision_config": {"patch_size": 14}}


def edge(side: int) -> dict[str, Any]:
    return {"size": {"height": side, "width": side}}


CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    # model_type: image processor, its settings, the model's config
    "aria": ("Aria", {"split_image": True, "max_image_size": 490}, {}),
    "aya_vision": ("GotOcr2", {**edge(84), "crop_to_patches": True, "max_patches": 6}, TOWER),
    "deepseek_ocr2": ("DeepseekOcr2", {}, {}),
    "ernie4_5_vl_moe": ("Ernie4_5_VLMoe", {}, {}),
    "gemma3": (
        "Gemma3",
        {
            **edge(112),
            "do_pan_and_scan": True,
            "pan_and_scan_min_crop_size": 64,
            "pan_and_scan_max_num_crops": 4,
            "pan_and_scan_min_ratio_to_activate": 1.2,
        },
        TOWER,
    ),
    "gemma4": ("Gemma4", {"max_soft_tokens": 70}, {}),
    "glm4v": ("Glm4v", {}, {}),
    "hunyuan_vl": ("HunYuanVL", {"size": {"shortest_edge": 4096, "longest_edge": 262144}}, {}),
    "idefics3": (
        "Idefics3",
        {"size": {"longest_edge": 336}, "max_image_size": {"longest_edge": 84}},
        {**TOWER, "scale_factor": 2},
    ),
    "minicpmv4_6": ("MiniCPMV4_6", {"scale_resolution": 224}, {}),
    "mistral3": ("Pixtral", {"size": {"longest_edge": 280}, "patch_size": 14}, {}),
    "mllama": ("Mllama", edge(112), TOWER),
    "ovis2": ("Ovis2", {**edge(112), "crop_to_patches": True, "max_patches": 9}, TOWER),
    "paddleocr_vl": ("PaddleOCRVL", {}, {}),
    "smolvlm": (
        "SmolVLM",
        {"size": {"longest_edge": 256}, "max_image_size": {"longest_edge": 64}},
        {"vision_config": {"patch_size": 16}, "scale_factor": 4},
    ),
    "video_llama_3": ("VideoLlama3", {}, {}),
}


def picture(width: int, height: int, mode: str) -> Image.Image:
    shape = (height // 8 + 1, width // 8 + 1, len(mode))
    values = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


PICTURES = [
    picture(*one)
    for one in ((320, 240, "RGB"), (150, 450, "RGBA"), (61, 47, "RGB"), (900, 601, "RGB"))
]


def policy_of(folder: Path, model_type: str, processor: Any) -> Policy:
    processor.save_pretrained(folder)
    config = {"model_type": model_type, **CASES[model_type][2]}
    (folder / "config.json").write_text(json.dumps(config))
    return load_policy("auto", [f'checkpoint="{folder}"'])


def ours(policy: Policy, image: Image.Image) -> tuple[list[Array], dict[str, Any]]:
    sized = policy.size(images(np.array([image.width]), np.array([image.height])))
    row: Any = sized.to_table().to_pylist()[0]
    rgb = opaque(image, white=policy.alpha == "white")
    return [np.asarray(one) for one in cut(draw(rgb, row), row)], row


def one_by_one(values: Any) -> list[Array]:
    """The pictures [3, H, W] of nested lists or arrays."""
    if isinstance(values, np.ndarray) and values.ndim == 3:
        return [values]
    return [one for value in values for one in one_by_one(value)]


def flat(views: list[Array], row: dict[str, Any], found: dict[str, Any], merge: int) -> Array:
    """Patches in the order of the family."""
    [grid] = row["grid_thw"]
    values = found["pixel_values"]
    frames = values.shape[1] // (3 * (views[0].shape[0] // grid[1]) ** 2) if values.ndim == 2 else 1
    return flat_patches(views, grid, AS_THEY_ARE, merge=merge, temporal_patch_size=frames)


def squares(views: list[Array]) -> Array:
    """[3, 14, n] the patches of all views side by side, as MiniCPM-V has them."""
    shown = []
    for view in views:
        height, width, _ = view.shape
        cells = view.transpose(2, 0, 1).reshape(3, height // 14, 14, width // 14, 14)
        shown.append(cells.transpose(0, 2, 1, 3, 4).reshape(3, 14, -1))
    return np.concatenate(shown, axis=-1)


@pytest.mark.parametrize("model_type", CASES)
def test_views_are_those_of_the_image_processor(model_type: str, tmp_path: Path) -> None:
    name, chosen, _ = CASES[model_type]
    processor = getattr(transformers, f"{name}ImageProcessorPil")(**chosen)
    policy = policy_of(tmp_path, model_type, processor)
    for image in PICTURES:
        views, row = ours(policy, image)
        asked = [[image]] if model_type == "mllama" else [image]
        found = processor(asked, do_rescale=False, do_normalize=False)
        values: Any = found["pixel_values"]
        if "image_grid_thw" in found:
            stacked = np.asarray(values)
            # PaddleOCR-VL and HunYuan-VL take patches row by row, the others block by block
            merge = 1 if model_type in ("paddleocr_vl", "hunyuan_vl") else row["merge"]
            wanted = flat(views, row, {"pixel_values": stacked}, merge)
            np.testing.assert_allclose(stacked.reshape(wanted.shape), wanted, atol=1e-4)
        elif model_type == "gemma4":
            [(_, rows, columns)] = row["grid_thw"]
            cells = views[0].reshape(rows, 16, columns, 16, 3).transpose(0, 2, 1, 3, 4)
            patches = np.asarray(values[0])[: rows * columns]
            assert np.array_equal(patches, cells.reshape(rows * columns, -1))
        elif model_type == "minicpmv4_6":
            assert np.array_equal(np.asarray(values)[0], squares(views))
        else:
            theirs = one_by_one(values)
            if "pixel_values_local" in found:
                theirs = [*one_by_one(found["pixel_values_local"]), *theirs]
            if model_type == "mllama":
                theirs = theirs[: len(views)]  # the rest is padding
            assert len(theirs) == len(views)
            for picture_of_theirs, view in zip(theirs, views, strict=True):
                assert np.array_equal(picture_of_theirs, view.transpose(2, 0, 1))
