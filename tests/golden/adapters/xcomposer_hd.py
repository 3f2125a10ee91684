"""xcomposer_hd: sizes and padding in the frame of the picture that lies on its long side."""

from collections.abc import Sequence

from schemas.reasons import Reason
from tests.golden.adapter import Adapter, Fields, Row, reason
from workers.policies.xcomposer_hd import XComposerHD

REASONS = {("ValueError", "height and width must be > 0"): Reason.EMPTY_TARGET}


def _expected(row: Row) -> Fields:
    if "error" in row:
        return {"drop": reason(row["error"], REASONS)}
    return {**row["out"], "pad_rgb": [255, 255, 255], "thumbnail": "first model", "drop": None}


def _answered(row: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    step = -1 if record["transposed"] else 1
    width, height = record["resized_wh"][::step]
    canvas_width, canvas_height = record["canvas_wh"][::step]
    left, top = record["paste_xy"][::step]
    tile = record["thumbnail_wh"][0]
    same = record["resized_wh"] == [row["width"], row["height"]]
    return {
        "final": record["canvas_wh"],
        "resized": None if same else [width, height],
        "pad": [left, top, canvas_width - width - left, canvas_height - height - top],
        "grid": [side // tile for side in record["canvas_wh"][::-1]],
        "transposed": record["transposed"],
        "llm_tokens": record["llm_tokens"],
        "resample": None if same else record["resample"].upper(),
        "pad_rgb": record["pad_rgb"],
        "thumbnail": f"{record['thumbnail']} {record['thumbnail_of']}",
        "drop": record["drop"],
    }


ADAPTERS = {
    "xcomposer_hd": Adapter(
        policy=XComposerHD(),
        row_fields=frozenset({"policy", "variant", "width", "height", "params", "out", "error"}),
        lines=lambda row: [{key: row[key] for key in ("width", "height", "variant", "params")}],
        expected=_expected,
        answered=_answered,
    )
}
