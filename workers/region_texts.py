"""The boxes and points of a SURVEYED block as texts: found column by column, since few have any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import flat, offsets, one_chunk
from schemas.errors import ContractError
from workers.regions import NUMBERS, Region, outside, write
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
    sides = [pc.struct_field(flat(items), name).to_numpy() for name in ("width", "height")]
    texts: dict[int, str] = {}
    late: dict[int, list[Region]] = {}
    faults: dict[int, str] = {}
    places = parts.take(pa.array(found)).to_pylist()
    for number, owner, place in zip(found.tolist(), row.tolist(), places, strict=True):
        region = Region(place["item"], place["text"], tuple(place["xy"]))
        shown = int(first[owner + 1] - first[owner])
        if not 0 <= region.item < shown:
            raise ContractError(f"a {place['kind']} of item {region.item}, there are {shown}")
        wh = [int(side[first[owner] + region.item]) for side in sides]
        if outside(region, wh):
            where = f"{place['kind']} {list(region.xy)} of item {region.item}"
            faults.setdefault(owner, f"{where} is not inside {wh[0]}×{wh[1]}")
        texts[number] = write(region, wh, way)
        if NUMBERS in texts[number]:
            late.setdefault(owner, []).append(region)
    return RegionTexts(texts, late, faults)
