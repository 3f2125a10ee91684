"""The families of the zoo that read one view at its own ratio."""

from schemas.reasons import Reason
from tests.golden.adapter import Direct, Fields, Row, reason
from tests.golden.zoo import FIELDS, without, zoo
from workers.geometry import geometry
from workers.policies.emu3 import Emu3
from workers.policies.ernie4_5_vl import Ernie45VL
from workers.policies.gemma4 import Gemma4
from workers.policies.glm4v import Glm4v
from workers.policies.hunyuan_vl import HunYuanVL
from workers.policies.kimi_k25 import KimiK25
from workers.policies.kimi_vl import KimiVL
from workers.policies.nemotron_h_omni import NemotronHOmni
from workers.policies.ovis2_5 import Ovis25
from workers.policies.paddleocr_vl import PaddleOCRVL
from workers.policies.pixtral import Pixtral
from workers.policies.protocol import Policy
from workers.policies.video_llama_3 import VideoLlama3

RATIO = {("ValueError", "absolute aspect ratio"): Reason.RATIO_TOO_EXTREME}

NATIVE: dict[str, Policy] = {
    "ovis2_5": Ovis25(),
    "paddleocr_vl": PaddleOCRVL(),
    "ernie4_5_vl": Ernie45VL(),
    "video_llama_3": VideoLlama3(),
    "hunyuan_vl": HunYuanVL(),
}
MARKS = {"ovis2_5": 0, "paddleocr_vl": 2, "ernie4_5_vl": 2, "video_llama_3": 0, "hunyuan_vl": 0}
"""Start and end tokens, which a chat template writes and the processors do not."""


NATIVE_REASONS = {**RATIO, ("ValueError", "height and width must be > 0"): Reason.EMPTY_TARGET}


def _pixtral(_: Row, record: Fields) -> Fields:
    rows = record["runs"]
    return {"grid": [record["parts"][0][1], rows], "break_tokens": rows - 1}


def _gemma4(row: Row, record: Fields) -> Fields:
    [(_, height, width)] = record["grid_thw"]
    pool = row["params"]["pooling_kernel_size"]
    return {
        "grid": [height, width],
        "pooled": [height // pool, width // pool],
        "pad_to": row["params"]["max_soft_tokens"] * pool**2,
    }


def _glm4v(_: Row, record: Fields) -> Fields:
    return {
        "grid_thw": record["grid_thw"][0],
        "patches": record["vit_patches"],
        "llm_tokens": record["llm_tokens"] - 2,
    }


def _kimi_k25(_: Row, record: Fields) -> Fields:
    return {
        "padded": record["canvas_wh"],
        "grid_thw": record["grid_thw"][0],
        "patches": record["vit_patches"],
        "llm_tokens": record["llm_tokens"] - 3,
    }


def _kimi_vl(row: Row, record: Fields) -> Fields:
    [(_, height, width)] = record["grid_thw"]
    source, resized = [row["width"], row["height"]], record["resized_wh"]
    left, top, right, bottom = (record["crops_ltrb"] or [[0, 0, *record["canvas_wh"]]])[0]
    return {
        "resized": None if resized == source else resized,
        "final": [right - left, bottom - top],
        "offset": None if row["params"]["pad_input"] else [left, top],
        "grid": [height, width],
        "llm_tokens": record["llm_tokens"] - 3,
    }


def _emu3(_: Row, record: Fields) -> Fields:
    text = record["texts"][0].removeprefix("<|image start|>").removesuffix("<|image token|>")
    return {
        "grid": [record["parts"][0][0], record["parts"][0][1]],
        "image_tokens": record["llm_tokens"] - 4,
        "special": 4,
        "size_text": text,
    }


def _nemotron(_: Row, record: Fields) -> Fields:
    [(_, height, width)] = record["grid_thw"]
    return {"grid": [height, width]}


def _native_expected(row: Row) -> Fields:
    if "out" in row:
        return {**row["out"], "drop": None}
    return {"drop": reason(row["error"], NATIVE_REASONS)}


def _native(row: Row) -> Fields:
    params = without("preset", "factor")(row["params"])
    line = {"width": row["width"], "height": row["height"], "params": params}
    record = geometry(NATIVE[row["variant"]], [line])[0]
    if "grid_thw" not in record:
        return {"drop": record["drop"]}
    return {
        "resized": record["resized_wh"],
        "grid_thw": record["grid_thw"][0],
        "image_tokens": record["vision_tokens"],
        "llm_tokens": record["llm_tokens"] - MARKS[row["variant"]],
        "drop": record["drop"],
    }


ADAPTERS = {
    "pixtral": zoo(
        Pixtral(), _pixtral, reasons={("ValueError", "Size must contain"): Reason.EMPTY_TARGET}
    ),
    "gemma4": zoo(Gemma4(), _gemma4),
    "glm4v": zoo(Glm4v(), _glm4v, without("preset", "temporal_patch_size"), RATIO),
    "kimi_k25": zoo(KimiK25(), _kimi_k25),
    "kimi_vl": zoo(
        KimiVL(),
        _kimi_vl,
        without("preset", renamed={"merge": "merge_size"}),
        {
            ("ValueError", "Exceed pos emb"): Reason.OVER_BUDGET,
            ("ValueError", "empty image"): Reason.EMPTY_TARGET,
        },
    ),
    "emu3": zoo(Emu3(), _emu3, reasons=RATIO),
    "nemotron_h_omni": zoo(NemotronHOmni(), _nemotron),
    "native_smart_resize": Direct(FIELDS, _native_expected, _native),
}
