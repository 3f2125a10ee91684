"""qwen2_vl, qwen2_5_vl, qwen3_vl (pictures); frames.qwen2_vl, frames.qwen3_vl (qwen-vl-utils), and
frames.qwen_hf_processor (transformers). A video is asked for once a version.
"""

from collections.abc import Sequence
from math import isclose

from schemas.errors import RecipeError
from schemas.reasons import Reason
from tests.golden.adapter import Adapter, Direct, Fields, Row, either, reason
from workers.geometry import geometry
from workers.policies.qwen2_vl import Qwen2VL

PATCHES = ("patch_size", "merge_size", "temporal_patch_size")
REASONS = {
    ("ValueError", "absolute aspect ratio must be smaller than 200"): Reason.RATIO_TOO_EXTREME,
    ("ValueError", "must be larger than factor"): Reason.TOO_SMALL,
    ("ValueError", "height and width must be > 0"): Reason.EMPTY_TARGET,
    ("AssertionError", "max_pixels of image must be greater"): Reason.OVER_BUDGET,
    ("ValueError", "Invalid time range"): Reason.BAD_CLIP,
    ("NotImplementedError", "not support start_pts and end_pts"): Reason.BAD_CLIP,
    ("ValueError", "video_fps must be a positive number"): Reason.BAD_FRAME_RATE,
    ("ZeroDivisionError", "float division by zero"): Reason.BAD_FRAME_RATE,
    ("ValueError", "nframes should in interval"): Reason.TOO_FEW_FRAMES,
    ("ValueError", "exceeds `total_num_frames"): Reason.TOO_FEW_FRAMES,
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


def _ask(row: Row, kind: str, version: str) -> Fields:
    policy = Qwen2VL.model_validate({"kind": kind, "video_variant": version})
    line = {key: row[key] for key in ("width", "height", "fps", "params", *PATCHES) if key in row}
    try:
        return geometry(policy, [line | {"frames": row["n_frames"]}])[0]
    except RecipeError as error:
        return {"drop": f"refused: {error}"}


def _versions(row: Row, answer: Fields) -> Fields:
    """The fields of all versions side by side."""
    fields = {f"{name} {key}": answer[name][key] for name in answer for key in answer[name]}
    return fields | ({"primary": row["primary"]} if "primary" in row else {})


def _utils_expected(row: Row) -> Fields:
    return _versions(
        row,
        {
            version: {"drop": reason(out, REASONS)} if "error" in out else {**out, "drop": None}
            for version, out in row["expected"].items()
        },
    )


def _utils_answered(row: Row) -> Fields:
    kind = row["id"].rpartition("-")[0]
    answers = {}
    for version, expected in row["expected"].items():
        record = _ask(row, kind, f"qwen_vl_utils_{version}")
        answers[version] = _video(row, record, expected) if "grid_thw" in record else record
    primary = Qwen2VL().video_variant.removeprefix("qwen_vl_utils_")
    return _versions(row, answers) | {"primary": primary}


def _video(row: Row, record: Fields, expected: Fields) -> Fields:
    ours = record["frame_indices"]
    fps = row["temporal_patch_size"] / record["seconds_per_grid"]  # twice inverted
    theirs = expected.get("sample_fps", 0.0)
    ties = expected.get("index_ties", [])
    return {
        "frame_indices": either(ours, ties),
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


def _hf_expected(row: Row) -> Fields:
    answers = {}
    for name, out in row["expected"].items():
        model = name.partition("/")[0]
        fields = dict(row["expected"][f"{model}/4.57.1"] if out == "same" else out)
        if "error" in fields:
            fields = {"drop": reason(fields, REASONS)}
        elif fields.pop("resize_error", None):
            fields["drop"] = Reason.TOO_SMALL
        else:  # only the sampling was run; the decoder has no frame after the last
            beyond = max(fields["frame_indices"]) >= row["n_frames"]
            fields["drop"] = Reason.TOO_FEW_FRAMES if beyond else None
        answers[name] = fields
    return _versions(row, answers)


def _hf_answered(row: Row) -> Fields:
    answers = {}
    for name in row["expected"]:
        kind, _, version = name.partition("/")
        record = _ask(row, kind, f"hf_{version}")
        if record["drop"] == Reason.TOO_SMALL:
            # 4.57.1 refuses to resize the frames that it has picked like 5.23.0
            picked = _ask(row, kind, "hf_5.23.0")
            answers[name] = _times(row, picked) | record
        elif "grid_thw" in record:
            answers[name] = _times(row, record) | {
                "resized": record["resized_wh"][::-1],
                "grid_thw": record["grid_thw"][0],
                "llm_tokens": record["vision_tokens"],
                "drop": record["drop"],
            }
        else:
            answers[name] = record
    return _versions(row, answers)


def _times(row: Row, record: Fields) -> Fields:
    indices = record.get("frame_indices", [])
    filled = indices + indices[-1:] * (len(indices) % 2)
    pairs = zip(filled[::2], filled[1::2], strict=True)
    middles = [(a / row["fps"] + b / row["fps"]) / 2 for a, b in pairs]
    return {
        "frame_indices": indices,
        "timestamps": [round(middle, 6) for middle in middles],
        "timestamp_text": list(record.get("texts", ()))[:-1],
    }


def _pictures(kind: str) -> Adapter:
    return Adapter(
        policy=Qwen2VL.model_validate({"kind": kind}),
        row_fields=frozenset({"policy", "variant", "width", "height", "params", "out", "error"}),
        lines=_picture,
        expected=_picture_expected,
        answered=_picture_answered,
    )


_MEDIUM = {"id", "n_frames", "fps", "width", "height", "params", "expected"}
_UTILS = Direct(
    row_fields=frozenset(_MEDIUM | {"category", "primary", *PATCHES}),
    expected=_utils_expected,
    answered=_utils_answered,
)
ADAPTERS = {
    **{kind: _pictures(kind) for kind in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")},
    "frames.qwen2_vl": _UTILS,
    "frames.qwen3_vl": _UTILS,
    "frames.qwen_hf_processor": Direct(
        row_fields=frozenset(_MEDIUM), expected=_hf_expected, answered=_hf_answered
    ),
}
