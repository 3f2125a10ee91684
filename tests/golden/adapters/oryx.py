"""oryx_image, oryx_video_frame and frames.oryx: sizes, frames and tokens of Oryx."""

from collections.abc import Sequence

from schemas.reasons import Reason
from tests.golden.adapter import Adapter, Fields, Row, reason
from workers.policies.oryx import Oryx

REASONS = {("ValueError", "height and width must be > 0"): Reason.EMPTY_TARGET}
NEWLINE = 2


def _expected(row: Row, key: str) -> Fields:
    error = row.get("error") or (row[key] if "error" in row[key] else None)
    return {"drop": reason(error, REASONS)} if error else {**row[key], "drop": None}


def _newlines(record: Fields) -> int:
    return sum(rows for rows, _, after in record["parts"] if after == NEWLINE)


def _image_answered(row: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    low, high = (grid[1:] for grid in record["grid_thw"])
    before = record["via_wh"][0] if record["via_wh"] else [row["width"], row["height"]]
    name = "BICUBIC(default)" if record["resample"] == "bicubic" else record["resample"]
    steps = [(before, record["resized_wh"]), (record["canvas_wh"], record["thumbnail_wh"])]
    first = [([row["width"], row["height"]], before)] if record["via_wh"] else []
    # a padded picture is not resized; the log of the reference ends where it is pasted
    padded = "PAD2STRIDE" in row["params"]["env"] and before == record["resized_wh"]
    return {
        "highres": record["view_wh"],
        "lowres": record["thumbnail_wh"] if record["thumbnail_of"] == "canvas" else None,
        "hr_grid": high,
        "lr_grid": low,
        "llm_tokens": record["llm_tokens"],
        "newline_tokens": _newlines(record),
        "ops": [["resize", *step, name] for step in (first if padded else first + steps)],
        "drop": record["drop"],
        **({"padded": record["canvas_wh"], "paste": record["paste_xy"]} if padded else {}),
    }


def _frame(row: Row) -> list[Fields]:
    source = {key: row[key] for key in ("width", "height", "variant", "params")}
    return [source | {"frames": row["params"]["frames"], "fps": 1.0}]


def _frame_answered(row: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    (_, rows, columns), pool = record["grid_thw"][0], record["merge"]
    begin, *frames, end = record["parts"]
    each = (record["llm_tokens"] - 2) / row["params"]["frames"]
    return {
        "frame": record["resized_wh"],
        "grid": [rows, columns],
        "comp": frames[0][:2] if frames[::2] == [frames[0]] * len(frames[::2]) else frames,
        "tokens_per_frame": each if begin == end == [1, 0, 3] and pool in (2, 4) else None,
        "llm_tokens": record["llm_tokens"],
        "drop": record["drop"],
    }


def _sample(row: Row) -> list[Fields]:
    source = {key: row[key] for key in ("width", "height", "params")}
    video = {"frames": row.get("n_frames"), "fps": 25.0}
    return [source if row["category"] == "image" else source | video]


def _sample_answered(row: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    grids = [grid[1:] for grid in record["grid_thw"]]
    common = {"llm_tokens": record["llm_tokens"], "drop": record["drop"]}
    if row["category"] == "image":
        return common | {
            "lowres_hw": record["thumbnail_wh"][::-1],
            "highres_hw": record["view_wh"][::-1],
            "lowres_grid": grids[0],
            "highres_grid": grids[1],
        }
    return common | {
        "frame_indices": record["frame_indices"],
        "nframes": record["grid_thw"][0][0],
        "resized_width": record["resized_wh"][0],
        "resized_height": record["resized_wh"][1],
        "vit_grid": grids[0],
        "pooled_grid": record["parts"][1][:2],
    }


_FIELDS = frozenset({"policy", "variant", "width", "height", "params", "out", "error"})
ADAPTERS = {
    "oryx_image": Adapter(
        policy=Oryx(),
        row_fields=_FIELDS,
        lines=lambda row: [{key: row[key] for key in ("width", "height", "variant", "params")}],
        expected=lambda row: _expected(row, "out"),
        answered=_image_answered,
    ),
    "oryx_video_frame": Adapter(
        policy=Oryx(),
        row_fields=_FIELDS,
        lines=_frame,
        expected=lambda row: _expected(row, "out"),
        answered=_frame_answered,
    ),
    "frames.oryx": Adapter(
        policy=Oryx(),
        row_fields=frozenset(
            {"id", "category", "n_frames", "width", "height", "params", "expected"}
        ),
        lines=_sample,
        expected=lambda row: _expected(row, "expected"),
        answered=_sample_answered,
    ),
}
