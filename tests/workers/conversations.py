"""Rows of SURVEYED for tests of the text stages, and readers of what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from schemas.tables import SURVEYED, TOKENIZED
from workers.regions import Region
from workers.text_config import TextConfig, TokenizeConfig
from workers.text_tokenizers import load_tokenizer
from workers.tokenize_text import tokenize

Turns = list[tuple[str, list[str | int]]]
Told = Sequence[tuple[str, Sequence[str | int | Region]]]
"""Who speaks, and texts, numbers of items, and places in them."""


def item() -> dict[str, Any]:
    values: dict[str, Any] = {"kind": "image", "clip_start": float("nan"), "clip_end": float("nan")}
    blanks = {"string": "", "int32": 0, "int64": 0, "double": 0.0, "bool": False}
    for field in SURVEYED.field("items").type.value_type:
        values.setdefault(field.name, blanks.get(str(field.type), []))
    return values


def sample(turns: Told, drop: str | None = None, source: str = "s") -> dict[str, Any]:
    items = sum(isinstance(part, int) for _, parts in turns for part in parts)
    return {
        "sample_id": f"{source}/0",
        "source": source,
        "origin": "",
        "turns": [
            {
                "role": role,
                "parts": [_part(part) for part in parts],
            }
            for role, parts in turns
        ],
        "items": [item()] * items,
        "drop": drop,
        "message": drop,
    }


def _part(part: str | int | Region) -> dict[str, Any]:
    if isinstance(part, Region):
        kind = "box" if len(part.xy) == 4 else "point"
        return {"kind": kind, "text": part.label, "item": part.item, "xy": part.xy}
    text, item = (part, -1) if isinstance(part, str) else ("", part)
    return {"kind": "media" if item >= 0 else "text", "text": text, "item": item, "xy": []}


def run(
    samples: list[dict[str, Any]],
    suffix: dict[str, str] | None = None,
    seed: int = 0,
    **text: Any,
) -> list[dict[str, Any]]:
    config = TokenizeConfig(text=TextConfig(**text), prompt_suffix=suffix or {}, seed=seed)
    table = pa.Table.from_pylist(samples, schema=SURVEYED)
    result = tokenize(table, load_tokenizer(config.text), config)
    assert result.schema == TOKENIZED
    assert len(result) == len(samples)
    rows: list[dict[str, Any]] = result.to_pylist()
    return rows


def learned(row: dict[str, Any], **text: Any) -> list[str]:
    tokenizer = load_tokenizer(TextConfig(**text))
    spans = zip(row["loss"][::2], row["loss"][1::2], strict=True)
    return [tokenizer.decode(row["tokens"][start:end]) for start, end in spans]


def decoded(row: dict[str, Any], **text: Any) -> str:
    return load_tokenizer(TextConfig(**text)).decode(row["tokens"])


TALK: Turns = [
    ("system", ["Be brief."]),
    ("user", [0, "What is in the picture?"]),
    ("assistant", ["A red house."]),
    ("user", ["And ", 1, "?"]),
    ("assistant", ["A blue car über 图片 😀."]),
]
