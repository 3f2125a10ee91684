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
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Ints, offsets, one_chunk
from schemas.reasons import Reason
from schemas.tables import SELECTED, conform
from workers.near_duplicates import NONE, Hashes, near_duplicates
from workers.near_texts import near_texts
from workers.signals.minhash import PLACES, Signatures

Exact = Literal["media", "sample"]
Bools = npt.NDArray[np.bool_]

KNOWN = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),  # sample | picture | text
        pa.field("value", pa.binary(), nullable=False),
    ]
)
"""What later partitions are held against: keys of samples that stay, hashes of their pictures,
signatures of their texts; little-endian.
"""


@dataclass(frozen=True, eq=False)
class Keys:
    """Of the rows of a partition: what is equal in exact duplicates (0 for none), and the hashes of
    pictures, those of row i from `starts[i]` on; none where a row has blank pictures or a video.
    """

    exact: Hashes
    hashes: Hashes
    starts: Ints
    texts: Signatures
    """[rows, PLACES]"""
    has_text: Bools
    """Where a row has words and no media: of others the text is not the sample."""


def keys_of(
    surveyed: pa.Table, pictures: pa.Table | None, texts: pa.Table | None, exact: Exact | None
) -> Keys:
    """Of a block; `pictures` and `texts` are its PICTURES and TEXTS, where near duplicates are
    looked for.
    """
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
    signatures, has_text = _signatures(texts, np.diff(bounds))
    return Keys(
        np.array(found, np.uint64), np.array(hashes, np.uint64), starts, signatures, has_text
    )


def joined(parts: list[Keys]) -> Keys:
    """Of the blocks of a partition, one after another."""
    parts = [*parts, _NO_KEYS]
    counts = np.concatenate([np.diff(part.starts) for part in parts])
    return Keys(
        np.concatenate([part.exact for part in parts]),
        np.concatenate([part.hashes for part in parts]),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([part.texts for part in parts]),
        np.concatenate([part.has_text for part in parts]),
    )


_NO_KEYS = Keys(
    np.zeros(0, np.uint64),
    np.zeros(0, np.uint64),
    np.zeros(1, np.int64),
    np.zeros((0, PLACES), np.uint32),
    np.zeros(0, np.bool_),
)


def without_duplicates(
    selected: pa.Table,
    keys: Keys,
    known: pa.Table,
    near_bits: int | None,
    likeness: float | None,
) -> pa.Table:
    """SELECTED, with what repeats a sample that stays dropped; `known` is of earlier partitions."""
    drops, messages = (selected.column(name).to_pylist() for name in ("drop", "message"))
    copies, ids = selected.column("copies").to_pylist(), selected.column("sample_id").to_pylist()
    seen: dict[int, str] = dict.fromkeys(
        _known(known, "sample", np.uint64).tolist(), "a sample of an earlier partition"
    )
    for row, key in enumerate(keys.exact.tolist()):
        if drops[row] is not None or not key:
            continue
        if key in seen:
            drops[row], messages[row] = Reason.DUPLICATE.value, f"the same as {seen[key]}"
        else:
            seen[key] = ids[row]
    if near_bits is not None:
        for row, told in _near(drops, ids, keys, _known(known, "picture", np.uint64), near_bits):
            drops[row], messages[row] = Reason.NEAR_DUPLICATE.value, told
    if likeness is not None:
        earlier = _known(known, "text", np.uint32).reshape(-1, PLACES)
        for row, told in _near_texts(drops, ids, keys, earlier, likeness):
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
    found = {
        "sample": np.unique(keys.exact[stays & (keys.exact != 0)]),
        "picture": np.unique(keys.hashes[np.repeat(stays, np.diff(keys.starts))]),
        "text": np.unique(keys.texts[stays & keys.has_text], axis=0),
    }
    kinds = [kind for kind, values in found.items() for _ in range(len(values))]
    values = [one.tobytes() for values in found.values() for one in values]
    return pa.table([pa.array(kinds, pa.string()), pa.array(values, pa.binary())], schema=KNOWN)


def _known(known: pa.Table, kind: str, number: Any) -> Any:
    """The values of one kind, one after another."""
    rows = known.filter(pc.equal(known.column("kind"), kind))
    return np.frombuffer(b"".join(rows.column("value").to_pylist()), number)


def _signatures(texts: pa.Table | None, media: Ints) -> tuple[Signatures, Bools]:
    """Of each row the signature, and whether it counts."""
    empty = np.zeros((len(media), PLACES), np.uint32)
    if texts is None:
        return empty, np.zeros(len(media), np.bool_)
    told = texts.column("minhash").to_pylist()
    counts = np.array([one is not None for one in told], np.bool_) & (media == 0)
    for row in np.flatnonzero(counts).tolist():
        empty[row] = np.frombuffer(told[row], np.uint32)
    return empty, counts


def _near_texts(
    drops: list[Any], ids: list[str], keys: Keys, known: Signatures, likeness: float
) -> Iterator[tuple[int, str]]:
    """Rows that stay so far and whose text is like an earlier one, with what is told of them."""
    alive = np.array([drop is None for drop in drops], np.bool_)
    rows = np.flatnonzero(alive & keys.has_text)
    near, equal = near_texts(keys.texts[rows], known, likeness)
    for number in np.flatnonzero(near != NONE).tolist():
        place = int(near[number]) - len(known)
        other = "one of an earlier partition" if place < 0 else f"that of {ids[rows[place]]}"
        share = 100 * int(equal[number]) // PLACES
        yield int(rows[number]), f"its text is {share} % like {other}"


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
