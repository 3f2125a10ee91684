"""One iteration of one consumer: its packs in order, read ahead by threads.

Threads take a few packs at a time: what Python asks for a task would be half the cost of a small
pack. Chunks are prepared one ahead where that means to wait for a network.
"""

from __future__ import annotations

import atexit
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from patchpack.cache import Cache
from patchpack.checks import Row, check_end, check_pack, cut_short
from patchpack.chunks import CHUNK_PACKS, REMOTE_CHUNK_PACKS, Chunk, chunk_of
from patchpack.container import FormatError
from patchpack.errors import DamageError, damage
from patchpack.header import Header, from_json
from patchpack.indexes import Indexes
from patchpack.io import IO
from patchpack.layout import Pack, filler
from patchpack.plan import Plan
from patchpack.spans import Span, Spans
from patchpack.transfer import is_remote
from patchpack.ustar import END

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Share:
    """What one consumer reads of a plan."""

    plan: Plan
    rank: int
    world_size: int
    numbers: range
    """Packs of its rank, counted over the epoch."""
    had: int
    """Items of the canonical order that were handed out before: fillers take their places."""


@dataclass(frozen=True, eq=False)
class Rules(Generic[T]):
    """What becomes of the bytes of a pack."""

    make: Callable[[Row, bytes], T]
    make_filler: Callable[[Pack], T]
    check: bool
    skip: bool
    """Damaged packs become fillers."""


class Lost(NamedTuple):
    """A filler in the place of a damaged pack."""

    filler: Any
    error: DamageError


@dataclass(eq=False)
class Stream(Generic[T]):
    """Iterate over `packs` once, and then `close`. `notes` gathers damage that costs no pack."""

    share: Share
    rules: Rules[T]
    io: IO
    cache: Cache | None
    notes: deque[DamageError] = field(default_factory=deque)
    _lock: Any = field(default_factory=Lock)
    _closed: bool = False

    def __post_init__(self) -> None:
        datasets = self.share.plan.datasets
        lanes = sum(max(1, one.lanes // self.share.world_size) for one in datasets)
        self._spans = Spans(self.cache)
        self._indexes = Indexes(self.cache, 2 * lanes)
        remote = any(is_remote(dataset.root) for dataset in datasets)
        self._size = REMOTE_CHUNK_PACKS if remote else CHUNK_PACKS
        self._preparer = ThreadPoolExecutor(1, "patchpack-prepare") if remote else None
        threads = self.io.threads
        self._readers = ThreadPoolExecutor(threads, "patchpack-read") if threads else None
        # an iteration that a program leaves open ends while threads still can
        atexit.register(self.close)

    def packs(self) -> Iterator[T | Lost]:
        """All in order. Raises DamageError unless damage is to be skipped, and OSError."""
        return self._one_by_one() if self._readers is None else self._ahead(self._readers)

    def _one_by_one(self) -> Iterator[T | Lost]:
        for chunk in self._chunks():
            count = range(len(chunk.entries))
            yield from map(self._read, chunk.entries, chunk.spans, repeat(chunk), count)

    def _ahead(self, readers: ThreadPoolExecutor) -> Iterator[T | Lost]:
        size = max(1, self.io.prefetch // (2 * self.io.threads))
        most = max(1, self.io.prefetch // size)
        pending: deque[Future[list[T | Lost]]] = deque()
        for chunk in self._chunks():
            for first in range(0, len(chunk.entries), size):
                pending.append(readers.submit(self._read_some, chunk, first, first + size))
                if len(pending) >= most:
                    yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()

    def close(self) -> None:
        """Let go of files and threads; again, do nothing."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        self._spans.drop()
        if self._preparer:
            self._preparer.shutdown(wait=False, cancel_futures=True)
        if self._readers:
            self._readers.shutdown(wait=True, cancel_futures=True)
        self._spans.close()

    def _chunks(self) -> Iterator[Chunk]:
        """One after another; what neither this one nor the last one needs is closed."""
        firsts = range(0, len(self.share.numbers), self._size)
        before: set[Span] = set()
        coming: Future[Chunk] | None = None
        for first in firsts:
            chunk = coming.result() if coming else self._prepare(first)
            now = set(chunk.spans)
            self._spans.close(but=before | now)
            before = now
            if self._preparer and first + self._size < len(self.share.numbers):
                coming = self._preparer.submit(self._prepare, first + self._size)
            yield chunk

    def _prepare(self, first: int) -> Chunk:
        share = self.share
        mine = share.numbers[first : first + self._size]
        numbers = np.arange(mine.start, mine.stop, mine.step, dtype=np.int64)
        step, inside = np.divmod(numbers, share.plan.bundle)
        items = step * share.world_size + share.rank
        places = share.plan.places(items, inside)
        had = items < share.had
        chunk = chunk_of(places, had, share.plan.datasets, self._indexes, self._spans)
        self._spans.start(list(dict.fromkeys(chunk.spans)))
        return chunk

    def _read_some(self, chunk: Chunk, first: int, end: int) -> list[T | Lost]:
        some = slice(first, end)
        numbers = range(first, end)
        return list(map(self._read, chunk.entries[some], chunk.spans[some], repeat(chunk), numbers))

    def _read(self, row: Row, span: Span, chunk: Chunk, number: int) -> T | Lost:
        rules = self.rules
        offset, size = row[1], row[2]
        try:
            if not span.ready:
                self._look_at(span)
            if chunk.had and chunk.had[number]:
                return rules.make_filler(_stand_in(chunk, number))
            data = os.pread(span.descriptor, size, offset - span.start)
            if len(data) < size:
                data = span.read(offset, size)  # Linux gives at most 2 GiB at once
                if len(data) < size:
                    raise cut_short(span.shard.name, row, len(data))
            if rules.check:
                check_pack(span.shard.name, row, data)
            try:
                return rules.make(row, data)
            except FormatError as error:
                raise damage(span.shard.name, row[0].decode(), row[1], str(error)) from None
        except DamageError as error:
            self._spans.forget(span)
            if not rules.skip:
                raise
            return Lost(rules.make_filler(_stand_in(chunk, number)), error)

    def _look_at(self, span: Span) -> None:
        """Open a span, and look behind the last pack; of a shard that ends before, packs tell."""
        span.open()
        with self._lock:
            if span.ready:
                return
            span.ready = True
        start = span.shard.size - len(END)
        if not self.rules.check or span.stop < span.shard.size or not span.read(start - 1, 1):
            return
        try:
            check_end(span.shard.name, span.read(start, len(END) + 1), start, span.shard.size)
        except DamageError as error:
            self._spans.forget(span)
            if not self.rules.skip:
                raise
            self.notes.append(error)


def _stand_in(chunk: Chunk, number: int) -> Pack:
    """A filler in the place of a pack, as the plan counts on one."""
    row, span = chunk.entries[number], chunk.spans[number]
    head = _header(span, row) or next(filter(None, map(_header, chunk.spans, chunk.entries)), None)
    return filler(
        key=row[0].decode(),
        lane=span.shard.lane,
        row=span.shard.first_row + chunk.rows[number],
        positions=head.positions if head else "",
        recipe=head.recipe if head else "",
    )


def _header(span: Span, row: Row) -> Header | None:
    """That of a pack, if it can be read."""
    try:
        return from_json(span.read(row[3], row[4]))
    except FormatError:
        return None
