"""llava_next_anyres, llava_onevision_anyres_max: each row also asks for its transformers twin."""

from collections.abc import Sequence

from schemas.sized import NEWLINE
from tests.golden.adapter import Adapter, Fields, Row
from workers.policies.llava_next import LlavaNext
from workers.policies.llava_onevision import LlavaOneVision

HF = "hf_5.23.0"
BASE = {336: 24**2, 384: 27**2}
RESAMPLE = {"bicubic": "BICUBIC(default)"}


def _lines(row: Row) -> list[Fields]:
    """The row's variant; transformers; the flat merge or the features that are not reduced."""
    line = {key: row[key] for key in ("width", "height", "variant", "params")}
    next_, whole = {"merge": "flat"}, {"max_num_patches": 4096}
    changed = whole if "max_num_patches" in row["params"] else next_
    return [line, line | {"variant": HF}, line | {"params": row["params"] | changed}]


def _answered(row: Row, records: Sequence[Fields]) -> Fields:
    record, twin, other = records
    width, height = record["canvas_wh"]
    tile = row["params"]["tile"]
    (_, base, _), (rows, columns, after) = record["parts"]
    unpad = [columns, rows]
    if "max_num_patches" in row["params"]:
        unpad = other["parts"][1][1::-1]
    base_view = {record[key] for key in ("thumbnail", "thumbnail_of")} | {
        tuple(record[key]) for key in ("thumbnail_wh", "thumbnail_resized_wh")
    }
    return {
        "best": record["canvas_wh"],
        "grid": [width // tile, height // tile],
        "resized": record["resized_wh"],
        "paste": record["paste_xy"],
        "pad_color": record["pad_rgb"],
        "tiles": record["crops_ltrb"] or [[0, 0, width, height]],
        "n_images": len(record["grid_thw"]),
        "base_first": base_view == {"first", "source", (tile, tile)} and base == BASE[tile],
        "resample": RESAMPLE[record["resample"]],
        "unpad": unpad,
        "interp": None if unpad == [columns, rows] else [columns, rows],
        "newline_tokens": rows if after == NEWLINE else None,
        "llm_tokens": record["llm_tokens"],
        "hf_best": twin["canvas_wh"],
        "hf_tokens": twin["llm_tokens"],
        "flat_tokens": other["llm_tokens"],
        "drop": record["drop"],
    }


def _onevision(row: Row) -> Fields:
    return {"interp": None, **row["out"], "drop": None}


ROW_FIELDS = frozenset({"policy", "variant", "width", "height", "params", "out"})
ADAPTERS = {
    "llava_next_anyres": Adapter(
        policy=LlavaNext(),
        row_fields=ROW_FIELDS,
        lines=_lines,
        expected=lambda row: {**row["out"], "drop": None},
        answered=_answered,
    ),
    "llava_onevision_anyres_max": Adapter(
        policy=LlavaOneVision(),
        row_fields=ROW_FIELDS,
        lines=_lines,
        expected=_onevision,
        answered=_answered,
    ),
}
