"""deepseek_vl: the square and, of the hybrid tower, the low view.

Each row is asked twice: a side was `clamped` where it is less with a least side of 1.
"""

from collections.abc import Sequence

from tests.golden.adapter import Adapter, Fields, Row
from workers.policies.deepseek_vl import DeepSeekVL

LOW = {"model": "torchvision BILINEAR antialias on the tensor", "canvas": "BICUBIC"}


def _lines(row: Row) -> list[Fields]:
    line = {key: row[key] for key in ("width", "height", "variant", "params")}
    return [line, {**line, "params": {**row["params"], "min_size": 1}}]


def _answered(_: Row, records: Sequence[Fields]) -> Fields:
    record, free = records
    width, height = record["resized_wh"]
    low = {
        "low": record["thumbnail_wh"],
        "low_resample": LOW[record["thumbnail_of"]],
        "low_drawn": record["thumbnail_resized_wh"],
    }
    return {
        "resized": record["resized_wh"],
        "paste": None if width == height else record["paste_xy"],
        "color": record["pad_rgb"],
        "final": record["view_wh"],
        "clamped": record["resized_wh"] != free["resized_wh"],
        "resample": record["resample"].upper(),
        "llm_tokens": record["llm_tokens"],
        "views": len(record["grid_thw"]),
        "drop": record["drop"],
        **({} if record["thumbnail"] == "none" else low),
    }


def _expected(row: Row) -> Fields:
    out = row["out"]
    low = {"low_drawn": out["low"]} if "low" in out else {}
    return {**out, **low, "views": 1 + len(low), "drop": None}


ADAPTERS = {
    "deepseek_vl": Adapter(
        policy=DeepSeekVL(),
        row_fields=frozenset({"policy", "variant", "width", "height", "params", "out"}),
        lines=_lines,
        expected=_expected,
        answered=_answered,
    )
}
