"""Rows of SURVEYED with media, and of SIZED, for tests of the stages that plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from schemas.tables import SIZED, SURVEYED
from tests.workers.conversations import Turns, item, sample

Row = dict[str, Any]


def medium(kind: str = "image", wh: tuple[int, int] = (100, 80), **more: Any) -> Row:
    """An item of SURVEYED; a video has 24 frames at 6 a second unless told otherwise."""
    moving = {"frames": 24, "fps": 6.0} if kind == "video" else {"frames": 1, "fps": 0.0}
    size = {"width": wh[0], "height": wh[1], "orientation": 1, "size": 1000}
    return {**item(), "kind": kind, "sha256": "ab" * 32, **moving, **size, **more}


def shown(name: str, media: Sequence[Row] = (), text: str = "What?", **more: Any) -> Row:
    """A sample of SURVEYED that shows media, asks and is answered."""
    turns: Turns = [("user", [*range(len(media)), text]), ("assistant", ["That."])]
    return {**sample(turns), "sample_id": f"s/{name}", "items": list(media), **more}


def surveyed(rows: Sequence[Row]) -> pa.Table:
    """A block."""
    return pa.Table.from_pylist(list(rows), schema=SURVEYED)


def sized(rows: Sequence[Row]) -> pa.Table:
    """SIZED of text alone: what a row does not say is 0, and its attention follows its tokens."""
    blank: Row = {"block": 0, "copies": 1, "items": [], "run_text": [], "text": [], "drop": None}
    filled = [
        {
            **dict.fromkeys(SIZED.names, 0),
            **blank,
            "row": number,
            "message": row.get("drop"),
            "length": row.get("tokens", 0),
            "attention": row.get("tokens", 0) ** 2,
            **row,
        }
        for number, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(filled, schema=SIZED)
