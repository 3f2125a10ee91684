"""Open files: a span is what one descriptor gives, a local shard or a piece of a remote one.

A remote shard is cut into spans of about 16 MiB at the starts of packs, so that no pack lies in
two, a resumed reader fetches what it reads and not the shard before it, and the cache may be small.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock

import numpy as np

from patchpack.cache import Cache, Wanted
from patchpack.dataset import Dataset, Shard
from patchpack.errors import damage
from patchpack.order import Ints, distinct
from patchpack.transfer import is_remote

SPAN_BYTES = 16 << 20
FETCHED_AT_ONCE = 4
_LOOK_S = 0.1


class Span:
    """Bytes `start` up to `stop` of a shard; opened by a `Spans`."""

    __slots__ = ("_opening", "dataset", "descriptor", "dropped", "ready", "shard", "start", "stop")

    def __init__(self, dataset: Dataset, shard: Shard, start: int, stop: int) -> None:
        self.dataset, self.shard, self.start, self.stop = dataset, shard, start, stop
        self.dropped = False
        self.ready = False  # open and looked at
        self.descriptor = -1
        self._opening: Future[int] | None = None

    @property
    def name(self) -> str:
        """In the cache."""
        return f"{self.shard.sha256}-{self.start}-{self.stop}"

    def open(self) -> None:
        """Wait until it is open; nobody who was told to end waits for a slow network.

        Raises DamageError for a shard that is not there, and what transfers raise.
        """
        assert self._opening is not None
        while not self.dropped:
            done, _ = wait([self._opening], timeout=_LOOK_S)
            if done:
                self.descriptor = self._opening.result()
                return
        raise CancelledError

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the shard, fewer where the file ends."""
        if self.descriptor < 0:
            self.open()
        data = b""
        while len(data) < size:
            place = offset - self.start + len(data)
            more = os.pread(self.descriptor, size - len(data), place)
            if not more:
                break
            data += more
        return data


class Spans:
    """The spans that are open; for one consumer and its threads."""

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache
        self._pool = ThreadPoolExecutor(FETCHED_AT_ONCE, "patchpack-fetch") if cache else None
        self._lock = Lock()
        self._known: dict[tuple[str, str, int], Span] = {}

    def of(self, dataset: Dataset, shard: Shard, offsets: Ints, rows: Ints) -> list[Span]:
        """Of each of these rows of a shard the span that it lies in; `offsets` of all its packs."""
        if not is_remote(dataset.root):
            return [self._span(dataset, shard, 0, shard.size)] * len(rows)
        buckets = offsets[rows] // SPAN_BYTES
        bucket = distinct(buckets)
        bounds = np.append(offsets, shard.size)
        first = bounds[np.searchsorted(offsets, bucket * SPAN_BYTES)].tolist()
        end = bounds[np.searchsorted(offsets, (bucket + 1) * SPAN_BYTES)].tolist()
        spans = [self._span(dataset, shard, *both) for both in zip(first, end, strict=True)]
        return [spans[one] for one in np.searchsorted(bucket, buckets).tolist()]

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
