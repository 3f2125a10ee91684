"""docowl1_5: the anchor by its place in the list, and 257 embeddings a view."""

from collections.abc import Sequence

from tests.golden.adapter import Adapter, Fields, Row
from workers.policies.anchors import ANCHORS
from workers.policies.docowl1_5 import DocOwl15


def _answered(row: Row, records: Sequence[Fields]) -> Fields:
    record = records[0]
    width, height = record["resized_wh"]
    tile = row["params"]["image_size"]
    anchor = (height // tile, width // tile)
    return {
        "anchor_index": ANCHORS[row["params"]["anchors"]].index(anchor),
        "anchor": list(anchor),
        "resized": record["resized_wh"],
        "n_images": len(record["grid_thw"]),
        "vision_tokens": record["llm_tokens"],  # theirs count `vit_eos` among the features
        "crops": len(record["crops_ltrb"]),
        "thumbnail": record["thumbnail"],
        "resample": record["resample"],
        "drop": record["drop"],
    }


def _expected(row: Row) -> Fields:
    rows, columns = row["out"]["anchor"]
    crops = rows * columns if rows * columns > 1 else 0  # a view without crops is shown whole
    drawn = {"crops": crops, "thumbnail": "first", "resample": "bicubic"}
    return {**row["out"], **drawn, "drop": None}


ADAPTERS = {
    "docowl1_5": Adapter(
        policy=DocOwl15(),
        row_fields=frozenset({"policy", "variant", "width", "height", "params", "out"}),
        lines=lambda row: [{key: row[key] for key in ("width", "height", "variant", "params")}],
        expected=_expected,
        answered=_answered,
    )
}
