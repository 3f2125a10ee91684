"""Duplicates: samples that repeat an earlier one, or whose pictures all look like earlier ones.

The first in the order of the partition stays; earlier partitions come before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Ints, offsets, one_chunk
from schemas.reasons import Reason
from schemas.tables import SELECTED, conform
from workers.near_duplicates import NONE, Hashes, near_duplicates

Exact = Literal["media", "sample"]

KNOWN = pa.schema(
    [pa.field("exact", pa.bool_(), nullable=False), pa.field("value", pa.uint64(), nullable=False)]
)
"""What later partitions are held against: keys of samples that stay, hashes of their pictures."""


@dataclass(frozen=True, eq=False)
class Keys:
    """Of the rows of a partition: what is equal in exact duplicates (0 for none), and the hashes of
    pictures, those of row i from `starts[i]` on; none where a row has blank pictures or a video.
    """

    exact: Hashes
    hashes: Hashes
    starts: Ints


def keys_of(surveyed: pa.Table, pictures: pa.Table | None, exact: Exact | None) -> Keys:
    """Of a block; `pictures` are its PICTURES, where near duplicates are looked for."""
    lists = one_chunk(surveyed.column("items"))
    items, bounds = lists.flatten(), offsets(lists)
    contents = pc.struct_field(items, "sha256").to_pylist()
    turns = surveyed.column("turns").to_pylist() if exact == "sample" else []
    rows = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    found = [0] * len(rows)
    if exact:
        for row, (first, end) in enumerate(rows):
            text = json.dumps(turns[row]) if turns else ""
            found[row] = _key(contents[first:end], text) if end > first or turns else 0
    hashes: list[int] = []
    counts = []
    for usable in _hashed(items, rows, pictures):
        hashes += usable
        counts.append(len(usable))
    starts = np.concatenate([[0], np.cumsum(np.array(counts, np.int64))]).astype(np.int64)
    return Keys(np.array(found, np.uint64), np.array(hashes, np.uint64), starts)


def joined(parts: list[Keys]) -> Keys:
    """Of the blocks of a partition, one after another."""
    if not parts:
        return Keys(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(1, np.int64))
    counts = np.concatenate([np.diff(part.starts) for part in parts])
    return Keys(
        np.concatenate([part.exact for part in parts]),
        np.concatenate([part.hashes for part in parts]),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )


def without_duplicates(
    selected: pa.Table, keys: Keys, known: pa.Table, near_bits: int | None
) -> pa.Table:
    """SELECTED, with what repeats a sample that stays dropped; `known` is of earlier partitions."""
    drops, messages = (selected.column(name).to_pylist() for name in ("drop", "message"))
    copies, ids = selected.column("copies").to_pylist(), selected.column("sample_id").to_pylist()
    is_exact = known.column("exact").to_numpy(zero_copy_only=False)
    values = known.column("value").to_numpy()
    seen: dict[int, str] = dict.fromkeys(
        values[is_exact].tolist(), "a sample of an earlier partition"
    )
    for row, key in enumerate(keys.exact.tolist()):
        if drops[row] is not None or not key:
            continue
        if key in seen:
            drops[row], messages[row] = Reason.DUPLICATE.value, f"the same as {seen[key]}"
        else:
            seen[key] = ids[row]
    if near_bits is not None:
        for row, told in _near(drops, ids, keys, values[~is_exact], near_bits):
            drops[row], messages[row] = Reason.NEAR_DUPLICATE.value, told
    copies = [count if drop is None else 0 for count, drop in zip(copies, drops, strict=True)]
    for name, found in (("copies", copies), ("drop", drops), ("message", messages)):
        column = SELECTED.field(name)
        place = SELECTED.get_field_index(name)
        selected = selected.set_column(place, column, pa.array(found, column.type))
    return conform(selected, SELECTED)


def known_of(selected: pa.Table, keys: Keys) -> pa.Table:
    """KNOWN of what stays."""
    stays = np.asarray(pc.is_null(selected.column("drop")).to_numpy(), np.bool_)
    exact = np.unique(keys.exact[stays & (keys.exact != 0)])
    hashes = np.unique(keys.hashes[np.repeat(stays, np.diff(keys.starts))])
    return pa.table(
        [
            pa.array(np.repeat([True, False], [len(exact), len(hashes)])),
            pa.array(np.concatenate([exact, hashes]).astype(np.uint64)),
        ],
        schema=KNOWN,
    )


def _near(
    drops: list[Any], ids: list[str], keys: Keys, known: Hashes, bits: int
) -> Iterator[tuple[int, str]]:
    """Rows that stay so far and are near duplicates, with what is told of them."""
    counts = np.diff(keys.starts)
    alive = np.array([drop is None for drop in drops], np.bool_)
    counted = counts * alive
    taken = keys.hashes[np.repeat(alive, counts)]
    starts = np.concatenate([[0], np.cumsum(counted)])
    near, differ = near_duplicates(taken, starts, known, bits)
    for row in np.flatnonzero(near != NONE).tolist():
        place = int(near[row]) - len(known)
        other = "of an earlier partition"
        if place >= 0:
            other = f"of {ids[int(np.searchsorted(starts, place, side='right')) - 1]}"
        yield row, f"a picture {other} differs in {differ[row]} of 64 bits"


def _key(contents: list[str], text: str) -> int:
    """64 bits, never 0."""
    digest = hashlib.blake2b("|".join([*contents, text]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def _hashed(
    items: pa.StructArray, rows: list[tuple[int, int]], pictures: pa.Table | None
) -> Iterator[list[int]]:
    """Of each row the hashes of its pictures; none where one of them has none, or is blank."""
    if pictures is None:
        yield from ([] for _ in rows)
        return
    place = pc.index_in(pc.struct_field(items, "sha256"), value_set=one_chunk(pictures["content"]))
    hashes = pictures.column("phash").take(place).to_pylist()
    blank = pictures.column("blank").take(place).to_pylist()
    for first, end in rows:
        usable = [
            int.from_bytes(one, "big")
            for one, plain in zip(hashes[first:end], blank[first:end], strict=True)
            if one is not None and not plain
        ]
        yield usable if len(usable) == end - first else []
