"""Sizes for notebooks: a table of media and some policies in, one row a policy and medium out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.errors import ContractError
from schemas.sized import Media, images
from workers.policies.blocks import blocks
from workers.policies.protocol import Policy


def size(media_table: pa.Table, policies: Sequence[Policy]) -> pa.Table:
    """What each policy makes of each medium: `policy`, `media_row`, then the columns of SIZED_ITEM.

    `media_table` has `width` and `height` in pixels and, where they matter, the other columns of
    `schemas.sized.Media` (`kind`, `frames`, `fps`, `clip_start`, `clip_end`, `images`, `key`); any
    further column is passed over. A medium that a policy cannot size has a reason in `drop`.
    Raises ContractError naming a column that is missing, null or of another type.
    """
    media = media_of(media_table)
    tables = []
    for policy in policies:
        parts = (media.take(part) for part in blocks(len(media)))
        table = pa.concat_tables(policy.size(part).to_table() for part in parts)
        name = pa.array([f"{policy.kind}/{policy.variant}"] * len(media), pa.string())
        table = table.add_column(0, "policy", name)
        tables.append(table.add_column(1, "media_row", pa.array(np.arange(len(media)))))
    if not tables:
        raise ContractError("policies: expected at least one")
    return pa.concat_tables(tables)


def media_of(table: pa.Table) -> Media:
    """The columns of `Media` in a table; what it lacks beside the sizes is that of an image."""
    names = table.column_names
    for name in ("width", "height"):
        if name not in names:
            raise ContractError(f"column {name} is missing, found {names}")
    columns = {name: _column(table, name, kind) for name, kind in _KINDS.items() if name in names}
    return replace(images(columns["width"], columns["height"]), **columns)


def _column(table: pa.Table, name: str, kind: pa.DataType) -> npt.NDArray[Any]:
    column = table.column(name)
    if column.null_count:
        raise ContractError(f"column {name} has {column.null_count} nulls, expected none")
    try:
        values: npt.NDArray[Any] = column.cast(kind).to_numpy()
    except pa.ArrowInvalid as error:
        raise ContractError(f"column {name}: expected {kind}: {error}") from error
    except pa.ArrowNotImplementedError as error:
        raise ContractError(f"column {name} is {column.type}, expected {kind}") from error
    return values


_KINDS = {
    "kind": pa.string(),
    "width": pa.int64(),
    "height": pa.int64(),
    "frames": pa.int64(),
    "fps": pa.float64(),
    "clip_start": pa.float64(),
    "clip_end": pa.float64(),
    "images": pa.int64(),
    "key": pa.uint64(),
}
