"""points1_5: pictures, without the line end after each."""

from collections.abc import Sequence

from schemas.reasons import Reason
from tests.golden.adapter import Adapter, Fields, Row, reason
from workers.policies.points1_5 import Points15

REASONS = {
    ("ValueError", "absolute aspect ratio must be smaller than 200"): Reason.RATIO_TOO_EXTREME
}


def _expected(row: Row) -> Fields:
    if "error" in row:
        return {"drop": reason(row["error"], REASONS)}
    # the golden stops before the resize, which raises for a target of 0 pixels
    empty = Reason.EMPTY_TARGET if 0 in row["out"]["resized"] else None
    return {**row["out"], "drop": empty}


def _answered(_: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    return {
        "resized": record["resized_wh"],
        "grid_thw": record["grid_thw"][0],
        "patches": record["vit_patches"],
        "vision_tokens": record["vision_tokens"],
        "llm_tokens": record["llm_tokens"],
        "drop": record["drop"],
    }


ADAPTERS = {
    "points1_5": Adapter(
        policy=Points15(),
        row_fields=frozenset({"policy", "variant", "width", "height", "params", "out", "error"}),
        lines=lambda row: [{key: row[key] for key in ("width", "height", "variant", "params")}],
        expected=_expected,
        answered=_answered,
    )
}
