"""Which payloads the cache holds: the index of every container is read once a build, and asked by
key.

Rows are found by a hash of their key in sorted segments, so that a partition pays for what it asks
and not for all that there is. Segments of like length are joined as containers are added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.store import Receipt, Store, at_once
from schemas.columns import Ints
from workers.payloads import PAYLOADS

INDEX = PAYLOADS.append(pa.field("container", pa.int32(), nullable=False))
"""PAYLOADS, and the number of the container that holds the payload."""


class Rendered:
    """The payloads in the containers of a cache."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.containers: list[str] = []
        """Where each container lies in the cache, by number."""

    def of(self, keys: pa.Array) -> pa.Table:
        """The rows of INDEX of these keys; a text without letters is none."""
        asked = pc.unique(keys.filter(pc.not_equal(keys, "")))
        if not len(asked):
            return INDEX.empty_table()
        hashes = _hashes(asked)
        found = [segment.of(asked, hashes) for segment in self._segments]
        return pa.concat_tables([INDEX.empty_table(), *found])

    def add(self, made: Iterable[Receipt]) -> None:
        """Take in containers that have been made since the first question."""
        receipts = [self._store.path(one.stage, one.key, ".json") for one in made]
        if not receipts or "_segments" not in vars(self):  # else they are found with the others
            return
        segments = self._segments
        table = self._read(receipts)
        while segments and len(segments[-1].table) < 2 * len(table):
            table = pa.concat_tables([segments.pop().table, table])
        segments.append(_Segment(table))

    @cached_property
    def _segments(self) -> list[_Segment]:
        there = dict(self._store.folder.list("rendered"))
        receipts = []
        for receipt in sorted(path for path in there if path.endswith(".json")):
            container, index = _beside(receipt)
            whole = {container, index} <= there.keys()
            if whole and self._store.redo.counts("rendered", there[container]):
                receipts.append(receipt)
        return [_Segment(self._read(receipts))] if receipts else []

    def _read(self, receipts: Sequence[str]) -> pa.Table:
        beside = [_beside(receipt) for receipt in receipts]
        indexes = [index for _, index in beside]
        tables = at_once(self._store.folder, self._store.read_at, indexes)
        first = len(self.containers)
        self.containers += [container for container, _ in beside]
        numbered = (
            _as_now(table).append_column(
                INDEX.field("container"), pa.array(np.full(len(table), number, np.int32))
            )
            for number, table in enumerate(tables, first)
        )
        return pa.concat_tables(numbered).combine_chunks()


@dataclass(frozen=True)
class _Segment:
    """Rows of INDEX, and an order of them by the hash of their key."""

    table: pa.Table

    @cached_property
    def _sorted(self) -> tuple[Ints, npt.NDArray[np.uint64]]:
        hashes = _hashes(self.table.column("key"))
        order: Ints = np.argsort(hashes, kind="stable")
        return order, hashes[order]

    def of(self, keys: pa.Array, hashes: npt.NDArray[np.uint64]) -> pa.Table:
        """The rows of these keys."""
        order, mine = self._sorted
        first = np.searchsorted(mine, hashes)
        counts = np.searchsorted(mine, hashes, side="right") - first
        places = np.arange(counts.sum()) + np.repeat(first - np.cumsum(counts) + counts, counts)
        rows = self.table.take(pa.array(order[places]))
        return rows.filter(pc.is_in(rows.column("key"), value_set=keys))


def _as_now(table: pa.Table) -> pa.Table:
    """With the columns about features, which older containers lack."""
    for field in PAYLOADS:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(PAYLOADS.names)


def _beside(receipt: str) -> tuple[str, str]:
    """The container and its index."""
    stem = receipt.removesuffix(".json")
    return f"{stem}.bin", f"{stem}.arrow"


def _hashes(keys: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """64 bits of each key of 32 hex digits; the same for the same key."""
    chunks = keys.chunks if isinstance(keys, pa.ChunkedArray) else [keys]
    digits = [one.cast(pa.binary()).cast(pa.binary(32)) for one in chunks]
    words = [
        np.frombuffer(one.buffers()[1], "<u8", 4 * len(one), 32 * one.offset).reshape(-1, 4)
        for one in digits
    ]
    mixed = np.concatenate([np.zeros((0, 4), np.uint64), *words]) * _ODD
    hashes: npt.NDArray[np.uint64] = np.bitwise_xor.reduce(mixed ^ (mixed >> np.uint64(29)), axis=1)
    return hashes


_ODD = np.array(
    [0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93], np.uint64
)
