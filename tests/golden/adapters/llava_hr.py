"""llava_hr: the square, and the fast view that the model makes of it."""

from collections.abc import Sequence

from tests.golden.adapter import Adapter, Fields, Row
from workers.policies.llava_hr import LlavaHR


def _answered(row: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    source = [row["width"], row["height"]]
    padded = row["params"]["image_aspect_ratio"] == "pad"
    moved = padded and source[0] != source[1]
    left, top, right, bottom = (record["crops_ltrb"] or [[0, 0, *record["view_wh"]]])[0]
    grids = [view[1] for view in record["grid_thw"]]
    slow, fast = grids
    return {
        "canvas": record["canvas_wh"] if padded else source,
        "paste": record["paste_xy"] if moved else None,
        "color": record["pad_rgb"] if moved else None,
        "resized": record["view_wh"],
        "crop": [right - left, bottom - top],
        "resample": record["resample"].upper(),
        "slow": [right - left, bottom - top],
        "slow_grid": slow,
        "fast": record["thumbnail_wh"],
        "fast_grid": fast,
        "align": "none" if slow == fast else "upsample" if slow < fast else "pool",
        "llm_tokens": record["llm_tokens"],
        "fast_of": record["thumbnail_of"],
        "first": record["resized_wh"],
        "drop": record["drop"],
    }


def _expected(row: Row) -> Fields:
    padded = row["params"]["image_aspect_ratio"] == "pad"
    first = [row["width"], row["height"]] if padded else row["out"]["resized"]
    return {**row["out"], "fast_of": "model", "first": first, "drop": None}


ADAPTERS = {
    "llava_hr": Adapter(
        policy=LlavaHR(),
        row_fields=frozenset({"policy", "variant", "width", "height", "params", "out"}),
        lines=lambda row: [{key: row[key] for key in ("width", "height", "variant", "params")}],
        expected=_expected,
        answered=_answered,
    )
}
