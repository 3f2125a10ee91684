"""The families of the zoo whose crops are resized one by one."""

from collections.abc import Sequence

from schemas.reasons import Reason
from tests.golden.adapter import Fields, Row
from tests.golden.zoo import SIZE, grid, thumbnail, without, zoo
from workers.policies.aria import Aria
from workers.policies.gemma3 import Gemma3
from workers.policies.ovis2 import Ovis2


def _padded(source: Sequence[int], resized: Sequence[int], canvas: Sequence[int]) -> Fields:
    pad = [whole - part for whole, part in zip(canvas, resized, strict=True)]
    return {"source": list(source), "resized": list(resized), "pad": pad}


def _aria(row: Row, record: Fields) -> Fields:
    views = len(record["grid_thw"])
    resized, canvas = record["resized_wh"], record["canvas_wh"]
    if not row["params"]["split_image"]:
        whole = _padded([row["width"], row["height"]], resized, canvas)
        plain: Fields = dict.fromkeys(("canvas", "split_resized", "split_pad"))
        return {**plain, "crops": [whole], "hf_num_patches": views}
    left, top = record["paste_xy"]
    pad = [left, top, canvas[0] - resized[0] - left, canvas[1] - resized[1] - top]
    crops = [
        _padded([box[2] - box[0], box[3] - box[1]], piece[:2], piece[4:])
        for box, piece in zip(record["crops_ltrb"], record["pieces"], strict=True)
        if piece[2:4] == [0, 0]
    ]
    return {
        "canvas": canvas,
        "split_resized": resized,
        "split_pad": pad,
        "crops": crops,
        "hf_num_patches": views,
    }


def _gemma3(row: Row, record: Fields) -> Fields:
    size = row["params"]["size"]
    sizes = {tuple(piece) for piece in record["pieces"]} | {(size, size, 0, 0, size, size)}
    whole = record["crops_ltrb"] == [] or thumbnail(record, "first", size) is True
    final = record["resized_wh"] if not record["pieces"] else record["thumbnail_wh"]
    return {"crops": record["crops_ltrb"], "final": final if whole and len(sizes) == 1 else sizes}


def _ovis2(row: Row, record: Fields) -> Fields:
    side, views = row["params"]["size"], len(record["grid_thw"])
    if row["variant"] != "ovis_original":
        return {"grid": grid(record, side), "thumbnail": thumbnail(record, "first", side)}
    boxes, pieces = record["crops_ltrb"], record["pieces"]
    columns, rows = (len({box[axis] for box in boxes}) or 1 for axis in (0, 1))
    whole = record["thumbnail_resized_wh"] if boxes else None
    return {
        "grid": [columns, rows],
        "crops": boxes or [[0, 0, row["width"], row["height"]]],
        "crop_resized": [piece[:2] for piece in pieces] or [record["resized_wh"]],
        "thumbnail_resized": whole,
        "thumbnail": views > 1 and record["thumbnail"] == "first",
    }


ADAPTERS = {
    "aria": zoo(Aria(), _aria),
    "gemma3": zoo(Gemma3(), _gemma3, without("preset", renamed=SIZE)),
    "ovis2": zoo(
        Ovis2(),
        _ovis2,
        without("preset", renamed=SIZE),
        {("ValueError", "height and width must be > 0"): Reason.EMPTY_TARGET},
    ),
}
