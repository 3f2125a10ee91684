"""Payloads of a container as they come, written beside the work that makes them.

Threads hash and write; what is written is synced in steps, so that the end of a container need not
wait for all of it.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from workers.faults import Fault
from workers.payloads import Row, Wanted, fault_row

_WRITES, _WRITERS = 64, 4
_SYNC_BYTES = 256 << 20


class PayloadWriter:
    """Payloads one after another in a file, hashed and written by threads; their rows of the index
    are there when the block has ended.
    """

    def __init__(self, descriptor: int) -> None:
        self.rows: list[Row] = []
        self.end = 0
        self._descriptor = descriptor
        self._under_way: deque[tuple[Future[str], Row, str | None]] = deque()

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(_WRITERS)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            while self._under_way:
                self._take()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def fault(self, one: Wanted, fault: Fault) -> None:
        """A payload that cannot be made."""
        while self._under_way:  # rows stand in source order
            self._take()
        self.rows.append(fault_row(one, self.end, fault))

    def add(
        self,
        one: Wanted,
        part: int,
        data: Sequence[bytes | memoryview],
        kind: str,
        device: str | None,
    ) -> None:
        """Another part; features have a digest and a device."""
        buffers = [memoryview(piece) for piece in data]
        size = sum(len(piece) for piece in buffers)
        row = (one.key, one.sha256, part, self.end, size, kind, None, None)
        if len(self._under_way) >= _WRITES:
            self._take()
        written = self._pool.submit(_write, self._descriptor, buffers, self.end)
        self._under_way.append((written, row, device))
        if (self.end + size) // _SYNC_BYTES > self.end // _SYNC_BYTES:
            self._pool.submit(os.fdatasync, self._descriptor)
        self.end += size

    def _take(self) -> None:
        written, row, device = self._under_way.popleft()
        digest = written.result()
        self.rows.append((*row, None if device is None else digest, device))


def _write(descriptor: int, buffers: list[memoryview], offset: int) -> str:
    """Write at an offset; the content's digest."""
    digest = hashlib.sha256()
    for one in buffers:
        digest.update(one)
        while len(one):
            done = os.pwrite(descriptor, one, offset)
            one, offset = one[done:], offset + done
    return digest.hexdigest()[:32]
