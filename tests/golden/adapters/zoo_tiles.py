"""The families of the zoo that cut pictures into tiles."""

from schemas.reasons import Reason
from tests.golden.adapter import Fields, Row
from tests.golden.zoo import SIZE, grid, thumbnail, without, zoo
from workers.policies.aya_vision import AyaVision
from workers.policies.cohere2_vision import Cohere2Vision
from workers.policies.deepseek_ocr2 import DeepSeekOCR2
from workers.policies.idefics3 import Idefics3
from workers.policies.lfm2_vl import Lfm2VL
from workers.policies.llama4 import Llama4
from workers.policies.minicpmv4_6 import MiniCPMV46
from workers.policies.mllama import Mllama, supported
from workers.policies.molmo2 import Molmo2
from workers.policies.perception_lm import PerceptionLM
from workers.policies.phi4_multimodal import Phi4Multimodal

TILE = {"tile": "image_size"}
PATCH_AND_SCALE = {364: (14, 2), 384: (14, 3), 512: (16, 4)}
"""Of the towers of Idefics3, SmolVLM and SmolVLM2, by tile."""


GLOBAL = ("resized_wh", "paste_xy", "canvas_wh")
"""The global view of what is not cut."""


def _idefics3_settings(params: Fields) -> Fields:
    patch, scale = PATCH_AND_SCALE[params["tile"]]
    return {
        "image_size": params["tile"],
        "longest_edge": params["longest_edge"],
        "do_image_splitting": params["do_image_splitting"],
        "patch_size": patch,
        "scale_factor": scale,
    }


def _idefics3(row: Row, record: Fields) -> Fields:
    tile, split = row["params"]["tile"], record["thumbnail"] != "none"
    breaks = sum("\n" in text for text in record["texts"])
    tokens = record["llm_tokens"] + breaks
    views = len(record["grid_thw"])
    place = thumbnail(record, "last", tile) is split and record["thumbnail_of"] in (
        "canvas",
        "source",
    )
    return {
        "first": (record["via_wh"] or [record["resized_wh"]])[0],
        "resized": record["resized_wh"] if split else None,
        "grid": grid(record, tile) if split and place else [0, 0],
        "frame_sizes": [[tile, tile]],
        "newlines": sum(text.count("\n") for text in record["texts"]),
        "llm_tokens": tokens,
        "hf_num_image_tokens": tokens,
        "hf_num_patches": views if split else 0,
    }


def _llama4(row: Row, record: Fields) -> Fields:
    tile = row["params"]["tile"]
    return {"grid": grid(record, tile), "thumbnail": thumbnail(record, "last", tile)}


def _mllama(row: Row, record: Fields) -> Fields:
    columns, rows = grid(record, row["params"]["tile"])
    views = len(record["grid_thw"])
    ids = supported(row["params"]["max_image_tiles"])
    return {
        "grid": [columns, rows],
        "aspect_ratio_id": 1 + ids.index((rows, columns)),
        "vision_tokens": record["vit_patches"] + views,
    }


def _tiles(row: Row, record: Fields) -> Fields:
    tile = row["params"]["size"]
    return {"grid": grid(record, tile), "thumbnail": thumbnail(record, "last", tile)}


def _aya(row: Row, record: Fields) -> Fields:
    tags = [text for text in record["texts"] if "TILE_" in text]
    return {**_tiles(row, record), "llm_tokens": record["llm_tokens"] + len(tags)}


def _lfm2(row: Row, record: Fields) -> Fields:
    tile, split = row["params"]["tile_size"], bool(record["crops_ltrb"])
    small = record["thumbnail"] == "last"
    patches = [height * width for _, height, width in record["grid_thw"]]
    room = (tile // row["params"]["encoder_patch_size"]) ** 2
    return {
        "split": split,
        "grid": grid(record, tile) if split else [1, 1],
        "thumbnail": record["thumbnail_wh"] if small else None,
        "pad_to": max(room, *patches),
        "over_budget": max(patches) > room,
    }


def _phi4(row: Row, record: Fields) -> Fields:
    tile, patch = row["params"]["size"], row["params"]["patch_size"]
    pairs = list(zip(record["canvas_wh"], record["resized_wh"], strict=True))
    pad = [whole - part for whole, part in pairs]
    columns, rows = [
        whole // patch - rest // patch for whole, rest in zip(record["canvas_wh"], pad, strict=True)
    ]
    first = thumbnail(record, "first", tile) is True and record["thumbnail_of"] == "canvas"
    return {
        "grid": grid(record, tile) if first else [],
        "pad": pad,
        "mask_patches": columns * rows,
    }


def _ocr2(row: Row, record: Fields) -> Fields:
    tile, cut = row["params"]["tile_size"], bool(record["crops_ltrb"])
    names = ("thumbnail_resized_wh", "thumbnail_xy", "thumbnail_wh") if cut else GLOBAL
    resized, paste, final = (record[name] for name in names)
    return {
        "grid": grid(record, tile) if cut else [0, 0],
        "tiles_resized": record["resized_wh"] if cut else None,
        "global_resized": resized,
        "paste": None if resized == final else paste,
        "final": final,
    }


def _molmo2(_: Row, record: Fields) -> Fields:
    width, height = record["canvas_wh"]
    columns, rows = (width - 112) // 266, (height - 112) // 266
    boxes = [
        [266 * column, 266 * row, 266 * column + 378, 266 * row + 378]
        for row in range(rows)
        for column in range(columns)
    ]
    (low, low_columns, _), (high, high_columns, _) = record["parts"]
    regular = record["crops_ltrb"] == (boxes if len(boxes) > 1 else [])
    return {
        "grid": [columns, rows] if regular else [],
        "low_grid": [low, low_columns],
        "high_grid": [high, high_columns],
        "resample": f"{record['resample'].upper()}, antialias=False",
    }


def _perception(row: Row, record: Fields) -> Fields:
    tile = row["params"]["tile_size"]
    first = thumbnail(record, "first", tile) is True
    return {"grid": grid(record, tile) if first else []}


def _minicpm(_: Row, record: Fields) -> Fields:
    views = len(record["grid_thw"])
    if views == 1:
        return {
            "source": record["resized_wh"],
            "grid": [0, 0],
            "refine": None,
            "slice": None,
            "newlines": 0,
        }
    left, top, right, bottom = record["crops_ltrb"][0]
    width, height = record["canvas_wh"]
    return {
        "source": record["thumbnail_wh"],
        "grid": [width // (right - left), height // (bottom - top)],
        "refine": record["resized_wh"],
        "slice": [right - left, bottom - top],
        "newlines": sum(text.count("\n") for text in record["texts"]),
    }


ADAPTERS = {
    "idefics3": zoo(Idefics3(), _idefics3, _idefics3_settings),
    "llama4": zoo(Llama4(), _llama4, without("preset", "pixel_shuffle_ratio", renamed=TILE)),
    "mllama": zoo(Mllama(), _mllama, without("preset", renamed=TILE)),
    "cohere2_vision": zoo(Cohere2Vision(), _tiles, without("preset", "min_patches", renamed=SIZE)),
    "aya_vision": zoo(AyaVision(), _aya, without("preset", "token_patch", renamed=SIZE)),
    "lfm2_vl": zoo(Lfm2VL(), _lfm2),
    "phi4_multimodal": zoo(
        Phi4Multimodal(),
        _phi4,
        without("preset", renamed=SIZE),
        {("ValueError", "the aspect ratio is very extreme"): Reason.RATIO_TOO_EXTREME},
    ),
    "deepseek_ocr2": zoo(
        DeepSeekOCR2(),
        _ocr2,
        without("preset", "tile_size", "global_size"),
        {("ValueError", "Size must contain"): Reason.EMPTY_TARGET},
    ),
    "molmo2": zoo(
        Molmo2(),
        _molmo2,
        without("preset", "size", "patch_size", "overlap_margins", "pooling_size"),
    ),
    "perception_lm": zoo(PerceptionLM(), _perception),
    "minicpmv4_6": zoo(MiniCPMV46(), _minicpm),
}
