"""qwen2_vl, qwen2_5_vl, qwen3_vl (pictures); frames.qwen2_vl, frames.qwen3_vl (utils 0.0.14)."""

from collections.abc import Sequence
from math import isclose

from schemas.reasons import Reason
from tests.golden.adapter import Adapter, Fields, Row, reason
from workers.policies.qwen2_vl import Qwen2VL

UTILS = "0.0.14"
PATCHES = ("patch_size", "merge_size", "temporal_patch_size")
REASONS = {
    ("ValueError", "absolute aspect ratio must be smaller than 200"): Reason.RATIO_TOO_EXTREME,
    ("ValueError", "must be larger than factor"): Reason.TOO_SMALL,
    ("ValueError", "height and width must be > 0"): Reason.EMPTY_TARGET,
    ("AssertionError", "max_pixels of image must be greater"): Reason.OVER_BUDGET,
    ("ValueError", "Invalid time range"): Reason.BAD_CLIP,
    ("ValueError", "video_fps must be a positive number"): Reason.BAD_FRAME_RATE,
    ("ValueError", "nframes should in interval"): Reason.TOO_FEW_FRAMES,
}


def _picture(row: Row) -> list[Fields]:
    size = {key: row[key] for key in ("width", "height", "variant")}
    return [size | {"params": row["params"]}]


def _picture_expected(row: Row) -> Fields:
    if "error" in row:
        return {"drop": reason(row["error"], REASONS)}
    out = dict(row["out"])
    refused = out.pop("fetch_image_error", None)
    # the goldens of HF stop before the resize; its target of 0 pixels is refused like that of utils
    empty = Reason.EMPTY_TARGET if 0 in out["resized"] else None
    return out | {"drop": reason(refused, REASONS) if refused else empty}


def _picture_answered(_: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    return {
        "resized": record["resized_wh"],
        "grid_thw": record["grid_thw"][0],
        "patches": record["vit_patches"],
        "vision_tokens": record["vision_tokens"],
        "llm_tokens": record["llm_tokens"],
        "drop": record["drop"],
    }


def _video(row: Row) -> list[Fields]:
    source = {key: row[key] for key in ("width", "height", "fps", *PATCHES)}
    return [source | {"frames": row["n_frames"], "params": row["params"]}]


def _video_expected(row: Row) -> Fields:
    expected = row["expected"][UTILS]
    if "error" in expected:
        return {"drop": reason(expected, REASONS)}
    return dict(expected) | {"drop": None}


def _video_answered(row: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    ours = record["frame_indices"]
    fps = row["temporal_patch_size"] / record["seconds_per_grid"]  # twice inverted
    theirs = row["expected"][UTILS].get("sample_fps", 0.0)
    ties = row["expected"][UTILS].get("index_ties", [])
    indices = list(ours)
    for place, torch_index, exact_index in ties:
        if indices[place] == exact_index:
            indices[place] = torch_index
    return {
        "frame_indices": indices,
        "index_ties": [[place, torch_index, ours[place]] for place, torch_index, _ in ties],
        "nframes": len(ours),
        "resized_width": record["resized_wh"][0],
        "resized_height": record["resized_wh"][1],
        "grid_thw": record["grid_thw"][0],
        "llm_tokens": record["vision_tokens"],
        "sample_fps": theirs if isclose(fps, theirs, rel_tol=1e-14) else fps,
        "second_per_grid_t": record["seconds_per_grid"],
        "drop": record["drop"],
    }


_PICTURES = Adapter(
    policy=Qwen2VL(),
    row_fields=frozenset({"policy", "variant", "width", "height", "params", "out", "error"}),
    lines=_picture,
    expected=_picture_expected,
    answered=_picture_answered,
)
_VIDEOS = Adapter(
    policy=Qwen2VL(),
    row_fields=frozenset(
        {"id", "category", "n_frames", "fps", "width", "height", "params", "expected", "primary"}
        | set(PATCHES)
    ),
    lines=_video,
    expected=_video_expected,
    answered=_video_answered,
)
ADAPTERS = {
    "qwen2_vl": _PICTURES,
    "qwen2_5_vl": _PICTURES,
    "qwen3_vl": _PICTURES,
    "positions/frames.qwen2_vl": _VIDEOS,
    "positions/frames.qwen3_vl": _VIDEOS,
}
