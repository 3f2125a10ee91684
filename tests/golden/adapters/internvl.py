"""internvl, internvl_order_ties (pictures) and frames.internvl (videos, pictures of one sample)."""

from collections.abc import Sequence

from schemas.reasons import Reason
from tests.golden.adapter import Adapter, Fields, Row
from workers.policies.internvl import InternVL

RESAMPLE = "BICUBIC(default)"
SAMPLING = {"eval_segments": "segments", "train_middle": "middle", "train_fps": "fps"}


def _picture(row: Row) -> list[Fields]:
    return [{key: row[key] for key in ("width", "height", "variant", "params")}]


def _picture_answered(row: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    width, height = record["resized_wh"]
    tile = row["params"]["image_size"]
    return {
        "grid": [width // tile, height // tile],
        "hf_grid": [width // tile, height // tile],
        "resized": record["resized_wh"],
        "tiles": record["crops_ltrb"] or [[0, 0, width, height]],
        "thumbnail": record["thumbnail"] == "last" and record["thumbnail_wh"] == [tile, tile],
        "n_images": len(record["grid_thw"]),
        "vision_tokens": record["vision_tokens"],
        "llm_tokens": record["llm_tokens"],
        "resample": RESAMPLE if record["resample"] == "bicubic" else record["resample"],
        "drop": record["drop"],
    }


def _frames(row: Row) -> list[Fields]:
    params = row["params"]
    if row["category"] == "multi_image":
        size = [{"width": width, "height": height} for width, height in row["images"]]
        shared = [one | {"images": len(size), "params": params} for one in size]
        budget = params | {"max_dynamic_patch": row["expected"]["max_num_per_image"]}
        return shared + [one | {"params": budget} for one in size]
    # training's categories are about frames of any size, `train_middle` of any rate
    source = {"width": 448, "height": 448, "fps": 25.0, **row}
    asked = {key: source[key] for key in ("width", "height", "fps", "params")}
    return [asked | {"frames": row["n_frames"], "sampling": SAMPLING[row["category"]]}]


def _frames_expected(row: Row) -> Fields:
    expected = {**row["expected"], "drop": None}
    # without a frame, the reference fails where it stacks the frames
    return {"drop": Reason.TOO_FEW_FRAMES} if expected.get("frame_indices") == [] else expected


def _frames_answered(row: Row, records: Sequence[Fields]) -> Fields:
    drop = next((record["drop"] for record in records if record["drop"]), None)
    if row["category"] == "multi_image":
        half = len(records) // 2
        shared, alone = records[:half], records[half:]
        views = [len(record["grid_thw"]) for record in shared]
        budget = row["expected"]["max_num_per_image"] if shared == alone else None
        vision_tokens = sum(record["vision_tokens"] for record in shared)
        each = {"max_num_per_image": budget, "tiles": views}
        return each | {"llm_tokens": vision_tokens, "drop": drop}
    indices = records[0]["frame_indices"]
    return {
        "frame_indices": indices,
        "nframes": len(indices),
        "tiles_per_frame": len(records[0]["grid_thw"]) / len(indices),
        "tile_size": records[0]["grid_thw"][0][1] * 14,
        "llm_tokens": records[0]["vision_tokens"],  # without start and end
        "in_range": max(indices) < row["n_frames"],
        "drop": drop,
    }


_PICTURES = Adapter(
    policy=InternVL(),
    row_fields=frozenset({"policy", "variant", "width", "height", "params", "out"}),
    lines=_picture,
    expected=lambda row: {**row["out"], "drop": None},
    answered=_picture_answered,
)
_VIDEOS = Adapter(
    policy=InternVL(),
    row_fields=frozenset(
        {"id", "category", "n_frames", "fps", "width", "height", "images", "params", "expected"}
    ),
    lines=_frames,
    expected=_frames_expected,
    answered=_frames_answered,
)
ADAPTERS = {
    "internvl": _PICTURES,
    "internvl_order_ties": _PICTURES,
    "frames.internvl": _VIDEOS,
}
