"""navit_image (the policy) and navit_packing, pack.navit_greedy (next-fit grouping).

`packer` is our answer with `max_seq_len`, all else that without: the reference's grouping comes
before the model looks at the sides, and is asked by itself.
"""

from collections.abc import Sequence

import numpy as np

from schemas.reasons import Reason
from schemas.sized import images
from tests.golden.adapter import Adapter, Direct, Fields, Row, reason
from workers.policies.navit import NaViT
from workers.policies.next_fit import OverBudgetError, groups
from workers.policies.token_rates import planned_lengths

REASONS = {
    ("AssertionError", "exceeds maximum sequence length"): Reason.OVER_BUDGET,
    ("AssertionError", "must be divisible by patch size"): Reason.NOT_PATCH_MULTIPLE,
}


def _image(row: Row) -> list[Fields]:
    line = {key: row[key] for key in ("width", "height", "variant")}
    ungrouped = {key: value for key, value in row["params"].items() if key != "max_seq_len"}
    return [line | {"params": ungrouped}, line | {"params": row["params"]}]


def _image_expected(row: Row) -> Fields:
    out = dict(row["out"])
    if out["packer"] != "ok":
        out["packer"] = reason(out["packer"], REASONS)
    if "forward_error" in out:
        out["forward_error"] = reason(out["forward_error"], REASONS)
    return out


def _image_answered(_: Row, records: Sequence[Fields]) -> Fields:
    alone, grouped = records
    _, rows, columns = alone["grid_thw"][0]
    found = {
        "grid": [rows, columns],
        "seq_len": rows * columns,
        "packer": Reason.OVER_BUDGET if grouped["drop"] == Reason.OVER_BUDGET else "ok",
    }
    if alone["drop"] is None:
        return found | {"kept": alone["vit_patches"]}
    return found | {"forward_error": alone["drop"]}


def _grouped(sizes_hw: Sequence[Sequence[int]], row: Row) -> Fields:
    height, width = np.array(sizes_hw).T
    sized = NaViT(patch_size=row["patch_size"]).size(images(width, height))
    share = np.full(len(sizes_hw), row["token_dropout"] or 0.0)
    lengths = planned_lengths(sized.grid_thw.values.prod(axis=1), share)
    try:
        return {"groups": groups(lengths.tolist(), row["max_seq_len"]), "drop": None}
    except OverBudgetError as error:
        return {"drop": error.reason}


def _packing_expected(row: Row) -> Fields:
    if "error" in row:
        return {"drop": reason(row["error"], REASONS)}
    return {**row["out"], "drop": None}


def _greedy_expected(row: Row) -> Fields:
    if "error" in row["expected"]:
        known = {"AssertionError": Reason.OVER_BUDGET}
        return {"drop": known[row["expected"]["error"]]}
    return {**row["expected"], "drop": None}


ADAPTERS = {
    "navit_image": Adapter(
        policy=NaViT(),
        row_fields=frozenset({"policy", "variant", "width", "height", "params", "out"}),
        lines=_image,
        expected=_image_expected,
        answered=_image_answered,
    ),
    "navit_packing": Direct(
        row_fields=frozenset({"policy", "variant", "width", "height", "params", "out", "error"}),
        expected=_packing_expected,
        answered=lambda row: _grouped(row["params"]["images_hw"], row["params"]),
    ),
    "pack.navit_greedy": Direct(
        row_fields=frozenset(
            {"id", "patch_size", "max_seq_len", "token_dropout", "sizes_hw", "expected"}
        ),
        expected=_greedy_expected,
        answered=lambda row: _grouped(row["sizes_hw"], row),
    ),
}
