"""deepseek_vl2: a picture alone, or among more than two where `cropping` is off.

`degenerate` means a picture of no height or width on its canvas. A global view without height is
refused as well, beside a geometry that is compared like all others.
"""

from collections.abc import Sequence

from schemas.reasons import Reason
from tests.golden.adapter import Adapter, Fields, Row
from workers.policies.deepseek_vl2 import DeepSeekVL2

DRAWN = {"pad_rgb": [127, 127, 127], "resample": "bicubic", "thumbnail": "first source"}


def _lines(row: Row) -> list[Fields]:
    """As it is, and, where cropping is off, as one of three pictures with cropping on."""
    line = {key: row[key] for key in ("width", "height", "variant", "params")}
    if row["params"]["cropping"]:
        return [line]
    return [line, {**line, "images": 3, "params": {**row["params"], "cropping": True}}]


def _answered(_: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    if any(other != record for other in records):
        return {}
    width, height = record["canvas_wh"]
    tile = record["thumbnail_wh"][0]
    return {
        "best": record["canvas_wh"],
        "grid": [width // tile, height // tile],
        "contained": record["resized_wh"],
        "offset": record["paste_xy"],
        "degenerate": record["drop"] == Reason.EMPTY_TARGET and 0 in record["resized_wh"],
        "n_images": len(record["grid_thw"]),
        "llm_tokens": record["llm_tokens"],
        "pad_rgb": record["pad_rgb"],
        "resample": record["resample"],
        "thumbnail": f"{record['thumbnail']} {record['thumbnail_of']}",
    }


ADAPTERS = {
    "deepseek_vl2": Adapter(
        policy=DeepSeekVL2(),
        row_fields=frozenset({"policy", "variant", "width", "height", "params", "out"}),
        lines=_lines,
        expected=lambda row: {**row["out"], **DRAWN},
        answered=_answered,
    )
}
