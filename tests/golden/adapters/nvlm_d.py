"""nvlm_d: the tiles of NVLM-D and the tags before them."""

from collections.abc import Sequence

from tests.golden.adapter import Adapter, Fields, Row
from workers.policies.nvlm_d import NVLMD

TAG_TOKENS = 5
"""Of every tag, in the vocabularies that Megatron trains with."""


def _lines(row: Row) -> list[Fields]:
    return [{key: row[key] for key in ("width", "height", "variant", "params")}]


def _answered(row: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    width, height = record["resized_wh"]
    tile = row["params"]["image_size"]
    texts = [text.removeprefix("<Image>") for text in record["texts"]]
    tags = texts[:-1] if texts[-1] == "</Image>" else texts
    crops = record["crops_ltrb"] or [[0, 0, width, height]]
    boxes = [
        [left, top, left + tile, top + tile]
        for top in range(0, height, tile)
        for left in range(0, width, tile)
    ]
    return {
        "grid": [width // tile, height // tile],
        "resized": record["canvas_wh"],
        "tiles": len(crops) if crops == boxes else crops,
        "thumbnail": record["thumbnail"] == "last" and record["thumbnail_wh"] == [tile, tile],
        "n_images": len(record["grid_thw"]),
        "vision_tokens": record["vision_tokens"],
        "resample": "BICUBIC(default)" if record["resample"] == "bicubic" else record["resample"],
        "tags": tags,
        "llm_tokens_megatron": record["llm_tokens"] + TAG_TOKENS * len(tags),
        "drop": record["drop"],
    }


ADAPTERS = {
    "nvlm_d": Adapter(
        policy=NVLMD(),
        row_fields=frozenset({"policy", "variant", "width", "height", "params", "out"}),
        lines=_lines,
        expected=lambda row: {**row["out"], "drop": None},
        answered=_answered,
    )
}
