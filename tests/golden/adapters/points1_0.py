"""points1_0_catty: tiles and resizes in the order of the reference's calls.

Where the function returns None, its chat fails; we refuse for the ratio.
"""

from collections.abc import Sequence

from schemas.reasons import Reason
from tests.golden.adapter import Adapter, Fields, Row
from workers.policies.points1_0 import Points10

RESAMPLE = {"bilinear": "BILINEAR"}


def _lines(row: Row) -> list[Fields]:
    return [{key: row[key] for key in ("width", "height", "variant", "params")}]


def _expected(row: Row) -> Fields:
    if row["out"] is None:
        return {"drop": Reason.RATIO_TOO_EXTREME}
    return {**row["out"], "drop": None}


def _answered(_: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    resizes = [*record["via_wh"], record["resized_wh"]]
    thumbnail = [record["thumbnail_wh"]]
    first = record["thumbnail_of"] == "source"
    return {
        "n_images": len(record["grid_thw"]),
        "resizes": thumbnail + resizes if first else resizes + thumbnail,
        "tiles": record["crops_ltrb"],
        "resample": RESAMPLE[record["resample"]],
        "drop": record["drop"],
    }


ADAPTERS = {
    "points1_0_catty": Adapter(
        policy=Points10(),
        row_fields=frozenset({"policy", "variant", "width", "height", "params", "out"}),
        lines=_lines,
        expected=_expected,
        answered=_answered,
    )
}
