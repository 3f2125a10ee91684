"""One iteration of one consumer: its packs in order, read ahead by threads.

Threads take a few packs at a time: what Python asks for a task would be half the cost of a small
pack. Chunks are prepared one ahead where that means to wait for a network.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from patchpack.cache import Cache
from patchpack.checks import Entry, check_end, check_pack, cut_short
from patchpack.chunks import CHUNK_PACKS, Chunk, chunk_of
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

    make: Callable[[Entry, bytes], T]
    make_filler: Callable[[Pack], T]
    check: bool
    skip: bool
    """Damaged packs become fillers."""


class Batch(NamedTuple, Generic[T]):
    """A few packs, and what was damaged among them; `lost` of them are fillers for that."""

    packs: list[T]
    damages: list[DamageError]
    lost: list[bool]


@dataclass(eq=False)
class Stream(Generic[T]):
    """Iterate over `batches` once, and then `close`."""

    share: Share
    rules: Rules[T]
    io: IO
    cache: Cache | None
    _ended: set[Span] = field(default_factory=set)
    _lock: Any = field(default_factory=Lock)

    def __post_init__(self) -> None:
        datasets = self.share.plan.datasets
        lanes = sum(max(1, one.lanes // self.share.world_size) for one in datasets)
        self._spans = Spans(self.cache)
        self._indexes = Indexes(self.cache, 2 * lanes)
        remote = any(is_remote(dataset.root) for dataset in datasets)
        self._preparer = ThreadPoolExecutor(1, "patchpack-prepare") if remote else None
        threads = self.io.threads
        self._readers = ThreadPoolExecutor(threads, "patchpack-read") if threads else None

    def batches(self) -> Iterator[Batch[T]]:
        """All packs in order. Raises DamageError unless damage is to be skipped, and OSError."""
        size = max(1, self.io.prefetch // (2 * self.io.threads)) if self._readers else 1
        most = max(1, self.io.prefetch // size)
        pending: deque[Future[Batch[T]]] = deque()
        for chunk in self._chunks():
            for first in range(0, len(chunk.entries), size):
                if self._readers is None:
                    yield self._read(chunk, first, first + size)
                    continue
                pending.append(self._readers.submit(self._read, chunk, first, first + size))
                if len(pending) >= most:
                    yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def close(self) -> None:
        """Let go of files and threads."""
        self._spans.drop()
        if self._preparer:
            self._preparer.shutdown(wait=False, cancel_futures=True)
        if self._readers:
            self._readers.shutdown(wait=True, cancel_futures=True)
        self._spans.close()

    def _chunks(self) -> Iterator[Chunk]:
        """One after another; what neither this one nor the last one needs is closed."""
        firsts = range(0, len(self.share.numbers), CHUNK_PACKS)
        before: set[Span] = set()
        coming: Future[Chunk] | None = None
        for first in firsts:
            chunk = coming.result() if coming else self._prepare(first)
            now = set(chunk.spans)
            self._spans.close(but=before | now)
            before = now
            if self._preparer and first + CHUNK_PACKS < len(self.share.numbers):
                coming = self._preparer.submit(self._prepare, first + CHUNK_PACKS)
            yield chunk

    def _prepare(self, first: int) -> Chunk:
        share = self.share
        numbers = np.array(share.numbers[first : first + CHUNK_PACKS], np.int64)
        step, inside = np.divmod(numbers, share.plan.bundle)
        items = step * share.world_size + share.rank
        places = share.plan.places(items, inside)
        chunk = chunk_of(places, share.plan.datasets, self._indexes, self._spans)
        self._spans.start(list(dict.fromkeys(chunk.spans)))
        chunk.had[:] = (items < share.had).tolist()
        return chunk

    def _read(self, chunk: Chunk, first: int, end: int) -> Batch[T]:
        packs: list[T] = []
        damages: list[DamageError] = []
        lost: list[bool] = []
        for number in range(first, min(end, len(chunk.entries))):
            try:
                entry, span = chunk.entries[number], chunk.spans[number]
                if self.rules.check and span not in self._ended:
                    damages += self._check_end(span)
                if chunk.had[number]:
                    packs.append(self.rules.make_filler(_stand_in(chunk, number)))
                else:
                    packs.append(self._pack(entry, span))
                lost.append(False)
            except DamageError as error:
                self._spans.forget(chunk.spans[number])
                if not self.rules.skip:
                    raise
                damages.append(error)
                packs.append(self.rules.make_filler(_stand_in(chunk, number)))
                lost.append(True)
        return Batch(packs, damages, lost)

    def _pack(self, entry: Entry, span: Span) -> T:
        data = span.read(entry.offset, entry.size)
        if len(data) < entry.size:
            raise cut_short(span.shard.name, entry, len(data))
        if self.rules.check:
            check_pack(span.shard.name, entry, data)
        try:
            return self.rules.make(entry, data)
        except FormatError as error:
            name = span.shard.name
            raise damage(name, entry.key.decode(), entry.offset, str(error)) from None

    def _check_end(self, span: Span) -> list[DamageError]:
        """What is wrong behind the last pack; a shard that ends before it is told by its packs."""
        with self._lock:
            if span in self._ended or span.stop < span.shard.size:
                self._ended.add(span)
                return []
            self._ended.add(span)
        start = span.shard.size - len(END)
        if not span.read(start - 1, 1):
            return []
        try:
            check_end(span.shard.name, span.read(start, len(END) + 1), start, span.shard.size)
        except DamageError as error:
            self._spans.forget(span)
            if not self.rules.skip:
                raise
            return [error]
        return []


def _stand_in(chunk: Chunk, number: int) -> Pack:
    """A filler in the place of a pack, as the plan counts on one."""
    entry, span = chunk.entries[number], chunk.spans[number]
    head = _header(span, entry) or next(
        filter(None, map(_header, chunk.spans, chunk.entries)), None
    )
    return filler(
        key=entry.key.decode(),
        lane=span.shard.lane,
        row=chunk.rows[number],
        positions=head.positions if head else "",
        recipe=head.recipe if head else "",
    )


def _header(span: Span, entry: Entry) -> Header | None:
    try:
        return from_json(span.read(entry.header_offset, entry.header_size))
    except FormatError:
        return None


def skipped_in_a_row(lost: Sequence[bool], before: int) -> int:
    """How many fillers for damaged packs end a sequence that follows `before` of them."""
    for back, one in enumerate(reversed(lost)):
        if not one:
            return back
    return before + len(lost)
