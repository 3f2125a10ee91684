"""Answers of models in the cache: recorded as they come, found by key, never asked for twice.

They are files of some answers each. No garbage collection takes them: they are what a build cannot
make again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.store import Store, at_once
from schemas.columns import one_chunk
from schemas.digest import spec_digest
from workers.caption import Record
from workers.captioning.answered import ANSWERS, Answer, NoAnswer, answers_table

FOLDER = "answers"

_MOST = 128
_LONGEST_S = 5.0
"""What a lost machine may cost: so many answers, or those of so many seconds."""


class Journal:
    """Answers of one task on their way into the cache, and the faults among them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[Answer] = []
        self._since = time.monotonic()
        self.faults: list[NoAnswer] = []

    def tell(self, one: Answer | NoAnswer) -> None:
        """Take an answer; from time to time those that wait are written."""
        if isinstance(one, NoAnswer):
            self.faults.append(one)
            return
        self._waiting.append(one)
        if len(self._waiting) >= _MOST or time.monotonic() - self._since >= _LONGEST_S:
            self.write()

    def write(self) -> None:
        """Write those that wait."""
        if self._waiting:
            key = spec_digest({"answers": [one.key for one in self._waiting]})
            self._store.write(FOLDER, key, answers_table(self._waiting))
        self._waiting, self._since = [], time.monotonic()


@contextmanager
def journal(store: Store) -> Iterator[Journal]:
    """One that writes what it has at the end, also after an exception."""
    made = Journal(store)
    try:
        yield made
    finally:
        made.write()


def read_answers(store: Store, paths: Iterable[str], keys: Collection[str]) -> dict[str, Record]:
    """The answers of these keys in files, the first one of each."""
    wanted = pa.array(sorted(keys), pa.string())
    found: dict[str, Record] = {}
    for path in paths:
        table = store.read_at(path)
        for row in table.filter(pc.is_in(table.column("key"), value_set=wanted)).to_pylist():
            found.setdefault(row["key"], row)
    return found


class KeptAnswers:
    """The answers that a cache holds when this is made."""

    def __init__(self, store: Store) -> None:
        self._store = store
        there = dict(store.folder.list(FOLDER))
        self._paths = sorted(
            path
            for path in there
            if path.endswith(".arrow") and f"{path.removesuffix('.arrow')}.json" in there
        )
        tables = at_once(store.folder, store.read_at, self._paths)
        self._lengths = [len(table) for table in tables]
        self._table = pa.concat_tables([ANSWERS.empty_table(), *tables])
        self._keys = one_chunk(self._table.column("key"))

    def of(self, keys: Collection[str]) -> dict[str, Record]:
        """The answers of these keys, as far as there are any; of two the first file's counts."""
        asked = pa.array(sorted(keys), pa.string())
        rows = pc.index_in(asked, value_set=self._keys).drop_null()
        return {row["key"]: row for row in self._table.take(rows).to_pylist()}

    def files(self, keys: Collection[str]) -> tuple[str, ...]:
        """The files that answers of these keys lie in, for who reads them elsewhere."""
        rows = pc.index_in(pa.array(sorted(keys), pa.string()), value_set=self._keys).drop_null()
        ends = np.cumsum(np.array(self._lengths, np.int64))
        numbers = np.unique(np.searchsorted(ends, rows.to_numpy(), side="right"))
        return tuple(self._paths[number] for number in numbers.tolist())

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of these keys without an answer, each once, in order."""
        asked = pa.array(list(dict.fromkeys(keys)), pa.string())
        there = pc.is_in(asked, value_set=self._keys)
        missing: list[str] = asked.filter(pc.invert(there)).to_pylist()
        return missing

    def forget(self, keys: Collection[str]) -> None:
        """Delete the files that hold answers of these keys alone."""
        mine = pc.is_in(self._keys, value_set=pa.array(sorted(keys), pa.string())).to_numpy(
            zero_copy_only=False
        )
        first = 0
        for path, length in zip(self._paths, self._lengths, strict=True):
            if length and mine[first : first + length].all():
                self._store.folder.delete(f"{path.removesuffix('.arrow')}.json")
                self._store.folder.delete(path)
            first += length
