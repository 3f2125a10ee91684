"""llava_uhd: overview, slices and separators of v1, MiniCPM's settings and both modes of v3."""

from collections.abc import Sequence

from tests.golden.adapter import Adapter, Fields, Row
from workers.policies.llava_uhd import LlavaUHD

RESAMPLE = {"bicubic": "BICUBIC"}


def _lines(row: Row) -> list[Fields]:
    return [{key: row[key] for key in ("width", "height", "variant", "params")}]


def _answered(_: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    slices = record["crops_ltrb"]
    tokens = record["vision_tokens"] // record["runs"]
    separators = sum(text != "" for text in record["texts"])
    found = {
        "source": record["resized_wh"],
        "grid": None,
        "n_slices": len(slices),
        "llm_tokens_v1": tokens * record["runs"] + separators,
        "resample": RESAMPLE[record["resample"]],
        "drop": record["drop"],
    }
    if not slices:
        return found
    width, height = record["resized_wh"]
    wide, high = slices[0][2:]
    return found | {
        "source": record["thumbnail_wh"],
        "grid": [width // wide, height // high],
        "refine": record["resized_wh"],
        "slices": slices,
        "sep_tokens": separators,
    }


ADAPTERS = {
    "llava_uhd": Adapter(
        policy=LlavaUHD(),
        row_fields=frozenset({"policy", "variant", "width", "height", "params", "out"}),
        lines=_lines,
        expected=lambda row: row["out"] | {"drop": None},
        answered=_answered,
    )
}
