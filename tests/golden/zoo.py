"""What the adapters of `zoo/` share."""

from collections.abc import Callable, Mapping, Sequence

from schemas.reasons import Reason
from tests.golden.adapter import Adapter, Fields, Row, reason
from workers.policies.protocol import Policy

FIELDS = frozenset({"policy", "variant", "width", "height", "params", "out", "error"})


def zoo(
    policy: Policy,
    answered: Callable[[Row, Fields], Fields],
    settings: Callable[[Fields], Fields] = dict,
    reasons: Mapping[tuple[str, str], Reason] | None = None,
) -> Adapter:
    """An adapter for a picture alone; `settings` makes ours of a row's `params`."""

    def lines(row: Row) -> list[Fields]:
        line = {key: row[key] for key in ("width", "height", "variant")}
        return [{**line, "params": settings(row["params"])}]

    def expected(row: Row) -> Fields:
        if "error" in row:
            return {"drop": reason(row["error"], reasons or {})}
        return {**row["out"], "drop": None}

    def found(row: Row, records: Sequence[Fields]) -> Fields:
        record = records[0]
        common = {
            "drop": record["drop"],
            "n_images": len(record["grid_thw"]),
            "image_tokens": record["vision_tokens"],
            "llm_tokens": record["llm_tokens"],
            "special": record["llm_tokens"] - record["vision_tokens"],
            "resized": record["resized_wh"],
            "canvas": record["canvas_wh"],
            "resample": record["resample"].upper(),
        }
        return common | answered(row, record)

    return Adapter(policy, FIELDS, lines, expected, found)


def without(*names: str, renamed: Mapping[str, str] = {}) -> Callable[[Fields], Fields]:
    """The params without these, and with our names for others."""
    return lambda params: {
        renamed.get(key, key): value for key, value in params.items() if key not in names
    }


SIZE = {"size": "image_size"}
"""What most golden files call a tile's side."""


def grid(record: Fields, tile: int) -> list[int]:
    """Columns and rows of regular tiles; nothing where the crops are others."""
    width, height = record["canvas_wh"]
    boxes = [
        [left, top, left + tile, top + tile]
        for top in range(0, height, tile)
        for left in range(0, width, tile)
    ]
    regular = record["crops_ltrb"] == (boxes if len(boxes) > 1 else [])
    return [width // tile, height // tile] if regular else []


def thumbnail(record: Fields, where: str, tile: int) -> bool | str:
    """Whether there is a thumbnail of this size at this place; else what there is."""
    if record["thumbnail"] == "none":
        return False
    found = record["thumbnail"] == where and record["thumbnail_wh"] == [tile, tile]
    return found or f"{record['thumbnail']} {record['thumbnail_wh']}"
