"""llava15_pad: the square and the view made of it."""

from collections.abc import Sequence

from tests.golden.adapter import Adapter, Fields, Row
from workers.policies.llava15 import Llava15


def _lines(row: Row) -> list[Fields]:
    return [{key: row[key] for key in ("width", "height", "variant", "params")}]


def _answered(_: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    whole = record["resized_wh"] == record["canvas_wh"]  # the reference pastes nothing
    return {
        "canvas": record["canvas_wh"],
        "paste": None if whole else record["paste_xy"],
        "color": None if whole else record["pad_rgb"],
        "final": record["view_wh"],
        "llm_tokens": record["llm_tokens"],
        "drop": record["drop"],
    }


ADAPTERS = {
    "llava15_pad": Adapter(
        policy=Llava15(),
        row_fields=frozenset({"policy", "variant", "width", "height", "params", "out"}),
        lines=_lines,
        expected=lambda row: {**row["out"], "drop": None},
        answered=_answered,
    )
}
