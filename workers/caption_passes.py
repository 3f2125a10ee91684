"""The totals of a table of captions, for the manifest and for who checks it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from schemas.manifest import CaptionPass

_BY = ("task", "model", "prompt_version")


def caption_passes(table: pa.Table) -> list[CaptionPass]:
    """The totals of CAPTIONS by task, model and prompt."""

    def count(name: str, value: str) -> pa.Array:
        return pc.equal(table.column(name), value).cast(pa.int64())

    counted = pa.table(
        {
            **{name: table.column(name) for name in _BY},
            "captions": count("decision", "caption"),
            "originals": count("decision", "original"),
            "drops": count("decision", "drop"),
            "rejected": table.column("message").is_valid().cast(pa.int64()),
            "blank_checked": table.column("blank_agrees").is_valid().cast(pa.int64()),
            "blank_agreed": pc.fill_null(table.column("blank_agrees"), False).cast(pa.int64()),
            "answer_tokens": table.column("answer_tokens"),
        }
    )
    names = [name for name in counted.column_names if name not in _BY]
    sums = counted.group_by(list(_BY)).aggregate(
        [([], "count_all"), *((name, "sum") for name in names)]
    )
    return [
        CaptionPass(
            **{name: row[name] for name in _BY},
            requests=row["count_all"],
            **{name: row[f"{name}_sum"] for name in names},
        )
        for row in sums.sort_by([(name, "ascending") for name in _BY]).to_pylist()
    ]
