"""Open files: a span is what one descriptor gives, a local shard or a piece of a remote one.

A remote shard is cut into spans of about 16 MiB at the starts of packs, so that no pack lies in
two, a resumed reader fetches what it reads and not the shard before it, and the cache may be small.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from itertools import pairwise
from pathlib import Path
from threading import Lock

import numpy as np

from patchpack.cache import Cache, Wanted
from patchpack.dataset import Dataset, Shard
from patchpack.errors import damage
from patchpack.index import Index
from patchpack.order import Ints
from patchpack.transfer import is_remote

SPAN_BYTES = 16 << 20
FETCHED_AT_ONCE = 4
_LOOK_S = 0.1


class Span:
    """Bytes `start` up to `stop` of a shard; opened by a `Spans`."""

    __slots__ = ("_descriptor", "_opening", "dataset", "dropped", "shard", "start", "stop")

    def __init__(self, dataset: Dataset, shard: Shard, start: int, stop: int) -> None:
        self.dataset, self.shard, self.start, self.stop = dataset, shard, start, stop
        self.dropped = False
        self._descriptor = -1
        self._opening: Future[int] | None = None

    @property
    def name(self) -> str:
        """In the cache."""
        return f"{self.shard.sha256}-{self.start}-{self.stop}"

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the shard, fewer where the file ends. Raises DamageError if it is not there."""
        if self._descriptor < 0:
            self._descriptor = self._opened()
        data = os.pread(self._descriptor, size, offset - self.start)
        while len(data) < size:  # Linux gives at most 2 GiB at once
            more = os.pread(self._descriptor, size - len(data), offset - self.start + len(data))
            if not more:
                break
            data += more
        return data

    def _opened(self) -> int:
        """The descriptor once it is there; nobody who was told to end waits for a slow network."""
        assert self._opening is not None
        while not self.dropped:
            done, _ = wait([self._opening], timeout=_LOOK_S)
            if done:
                return self._opening.result()
        raise CancelledError


class Spans:
    """The spans that are open; for one consumer and its threads."""

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache
        self._pool = ThreadPoolExecutor(FETCHED_AT_ONCE, "patchpack-fetch") if cache else None
        self._lock = Lock()
        self._known: dict[tuple[str, str, int], Span] = {}

    def of(self, dataset: Dataset, shard: Shard, index: Index) -> tuple[list[Span], Ints]:
        """The spans of a shard, and of each pack which one it lies in."""
        if not is_remote(dataset.root):
            return [self._span(dataset, shard, 0, shard.size)], np.zeros(len(index), np.int64)
        offsets = index["offset"].astype(np.int64)
        bucket = offsets // SPAN_BYTES
        _, first, number = np.unique(bucket, return_index=True, return_inverse=True)
        bounds = [*offsets[first].tolist(), shard.size]
        spans = [self._span(dataset, shard, start, stop) for start, stop in pairwise(bounds)]
        return spans, number

    def start(self, spans: Sequence[Span]) -> None:
        """Begin to open them, in this order."""
        for span in spans:
            with self._lock:
                if span._opening is None:
                    span._opening = self._open(span)

    def close(self, but: Collection[Span] = ()) -> None:
        """Close all others."""
        with self._lock:
            gone = [(key, span) for key, span in self._known.items() if span not in but]
            for key, _ in gone:
                del self._known[key]
        for _, span in gone:
            _discard(span)

    def drop(self) -> None:
        """Nothing more is wanted: who waits for a span gets a CancelledError."""
        for span in list(self._known.values()):
            span.dropped = True
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def forget(self, span: Span) -> bool:
        """Remove the copy of a span that proved damaged from the cache; whether there was one."""
        return self._cache is not None and self._cache.remove(span.name)

    def _span(self, dataset: Dataset, shard: Shard, start: int, stop: int) -> Span:
        key = (dataset.root, shard.name, start)
        with self._lock:
            if key not in self._known:
                self._known[key] = Span(dataset, shard, start, stop)
            return self._known[key]

    def _open(self, span: Span) -> Future[int]:
        if self._pool and is_remote(span.dataset.root):
            return self._pool.submit(self._fetch, span)
        opening: Future[int] = Future()
        try:
            path = Path(span.dataset.root, span.shard.name)
            opening.set_result(os.open(path, os.O_RDONLY))
        except FileNotFoundError:
            opening.set_exception(damage(span.shard.name, "", 0, "the shard is not there"))
        except OSError as error:
            opening.set_exception(error)
        return opening

    def _fetch(self, span: Span) -> int:
        assert self._cache is not None
        url = f"{span.dataset.root}/{span.shard.name}"
        try:
            return self._cache.open(Wanted(url, span.name, span.start, span.stop))
        except FileNotFoundError:
            raise damage(span.shard.name, "", span.start, "the shard is not there") from None


def _discard(span: Span) -> None:
    """Close its descriptor now, or when it is there."""
    opening = span._opening
    if opening is not None and not opening.cancel():
        opening.add_done_callback(_close)


def _close(opening: Future[int]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())
