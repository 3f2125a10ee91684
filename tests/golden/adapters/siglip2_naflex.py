"""siglip2_naflex: the size of both variants; only transformers pads its patches."""

from collections.abc import Sequence

from tests.golden.adapter import Adapter, Fields, Row
from workers.policies.siglip2_naflex import SigLIP2NaFlex


def _lines(row: Row) -> list[Fields]:
    return [{key: row[key] for key in ("width", "height", "variant", "params")}]


def _answered(row: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    return {
        "resized": record["resized_wh"],
        "grid": record["grid_thw"][0][1:],
        "tokens": record["vision_tokens"],
        "pad_to": SigLIP2NaFlex.model_validate(row["params"]).pad_to,
        "drop": record["drop"],
    }


ADAPTERS = {
    "siglip2_naflex": Adapter(
        policy=SigLIP2NaFlex(),
        row_fields=frozenset({"policy", "variant", "width", "height", "params", "out"}),
        lines=_lines,
        expected=lambda row: row["out"] | {"drop": None},
        answered=_answered,
    )
}
