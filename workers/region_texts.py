"""The boxes and points of a SURVEYED block as texts: found column by column, since few have any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import flat, offsets, one_chunk
from schemas.errors import ContractError
from workers.regions import Region, outside, written
from workers.text_config import Regions


@dataclass(frozen=True)
class RegionTexts:
    """What stands for the regions of a block.

    `texts` has the text of each by the number of its part in the block, `late` for each row the
    regions whose NUMBERS wait, in order, and `faults` a sentence for each row with one that lies
    outside of its picture.
    """

    texts: Mapping[int, str] = field(default_factory=dict)
    late: Mapping[int, Sequence[Region]] = field(default_factory=dict)
    faults: Mapping[int, str] = field(default_factory=dict)


def places_in(surveyed: pa.Table) -> int:
    """How many boxes and points the texts of a block name."""
    parts = flat(pc.struct_field(flat(one_chunk(surveyed.column("turns"))), "parts"))
    lengths = pc.list_value_length(pc.struct_field(parts, "xy")).fill_null(0).to_numpy()
    return int(np.count_nonzero(lengths))


def region_texts(surveyed: pa.Table, way: Regions) -> RegionTexts:
    """The texts of a block's regions."""
    rows = one_chunk(surveyed.column("turns"))
    turns = flat(rows)
    lists = pc.struct_field(turns, "parts")
    parts = flat(lists)
    lengths = pc.list_value_length(pc.struct_field(parts, "xy")).fill_null(0).to_numpy()
    found = np.flatnonzero(lengths)
    if not len(found):
        return RegionTexts()
    turn = np.searchsorted(offsets(lists), found, side="right") - 1
    row = np.searchsorted(offsets(rows), turn, side="right") - 1
    items = one_chunk(surveyed.column("items"))
    first = offsets(items)
    places = parts.take(pa.array(found))
    names, labels, numbers, xy = (
        pc.struct_field(places, name).to_pylist() for name in ("kind", "text", "item", "xy")
    )
    regions = [Region(*one) for one in zip(numbers, labels, map(tuple, xy), strict=True)]
    item = np.array(numbers, np.int64)
    shown = np.diff(first)[row]
    if (wrong := (item < 0) | (item >= shown)).any():
        raise ContractError(f"a region of item {item[wrong][0]}, of {shown[wrong][0]}")
    sides = [pc.struct_field(flat(items), name).to_numpy() for name in ("width", "height")]
    wh = np.stack(sides, axis=1)[first[row] + item].astype(np.int64)
    texts = written(regions, wh, way)
    late: dict[int, list[Region]] = {}
    faults: dict[int, str] = {}
    for owner, name, region, size in zip(row.tolist(), names, regions, wh.tolist(), strict=True):
        if outside(region, size):
            where = f"{name} {list(region.xy)} of item {region.item}"
            faults.setdefault(owner, f"{where} is not inside {size[0]}×{size[1]}")
        if way == "qwen2_5_vl":
            late.setdefault(owner, []).append(region)
    return RegionTexts(dict(zip(found.tolist(), texts, strict=True)), late, faults)
