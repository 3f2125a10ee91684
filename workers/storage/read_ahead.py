"""A file over byte ranges of a remote one, read ahead in blocks."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, BinaryIO

from workers.storage.ranges import GAP_BYTES, REQUEST_BYTES

_LARGEST_READ = 4 * REQUEST_BYTES
_BUFFER_BYTES = 256 << 10


def read_ahead(fetch: Callable[[int, int], bytes], size: int) -> BinaryIO:
    """A buffered file of `size` bytes; `fetch(offset, size)` reads them.

    Reading on fetches 8 MiB at a time; after a jump the first fetch is 1 MiB, as it may be a lone
    look (the end of a Parquet file). Reads of more than that are fetched as they are.
    """
    return io.BufferedReader(_Ahead(fetch, size), _BUFFER_BYTES)


class _Ahead(io.RawIOBase):
    """Holds the block it fetched last: a BufferedReader may ask for little at a time."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._position = 0
        self._start = 0  # of the block
        self._block = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        begin = self._position - self._start
        if not 0 <= begin < len(self._block):
            self._load(len(view))
            begin = self._position - self._start
        data = memoryview(self._block)[begin : begin + len(view)]
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def readall(self) -> bytes:
        data = self._fetch(self._position, max(0, self._size - self._position))
        self._position += len(data)
        return data

    def _load(self, wanted: int) -> None:
        """A block from the position on."""
        gap = self._position - self._start - len(self._block)
        left = max(0, self._size - self._position)
        size = max(wanted, REQUEST_BYTES if 0 <= gap < GAP_BYTES else GAP_BYTES)
        if size == REQUEST_BYTES and left < 2 * REQUEST_BYTES:
            size = left  # one last request
        self._block = self._fetch(self._position, min(size, left, _LARGEST_READ)) if left else b""
        self._start = self._position
