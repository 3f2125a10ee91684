"""internvl, internvl_order_ties (pictures) and frames.internvl: eval_segments and multi_image.

The categories train_middle and train_fps are other samplers, which no policy has yet.
"""

from collections.abc import Sequence

from tests.golden.adapter import Adapter, Fields, Row
from workers.policies.internvl import InternVL

RESAMPLE = "BICUBIC(default)"


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
        "resample": RESAMPLE,
        "drop": record["drop"],
    }


def _frames(row: Row) -> list[Fields]:
    if row["category"] == "eval_segments":
        source = {key: row[key] for key in ("width", "height", "fps", "params")}
        return [source | {"frames": row["n_frames"]}]
    if row["category"] == "multi_image":
        size = [{"width": width, "height": height} for width, height in row["images"]]
        return [one | {"images": len(size), "params": row["params"]} for one in size]
    return []


def _frames_answered(row: Row, records: Sequence[Fields]) -> Fields:
    drop = next((record["drop"] for record in records if record["drop"]), None)
    vision_tokens = sum(record["vision_tokens"] for record in records)  # without start and end
    views = [len(record["grid_thw"]) for record in records]
    if row["category"] == "multi_image":
        most = max(1, row["params"]["max_dynamic_patch"] // len(records))
        each = {"max_num_per_image": most, "tiles": views}
        return each | {"llm_tokens": vision_tokens, "drop": drop}
    indices = records[0]["frame_indices"]
    return {
        "frame_indices": indices,
        "nframes": len(indices),
        "tiles_per_frame": views[0] / len(indices),
        "tile_size": records[0]["grid_thw"][0][1] * 14,
        "llm_tokens": vision_tokens,
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
    expected=lambda row: {**row["expected"], "drop": None},
    answered=_frames_answered,
)
ADAPTERS = {
    "internvl": _PICTURES,
    "internvl_order_ties": _PICTURES,
    "positions/frames.internvl": _VIDEOS,
}
