"""Shards: plain ustar, written front to back in one pass with every checksum that is recorded.

Time 0, mode 0644, owner 0, no names: equal packs give equal bytes. Checksums and writing run in a
second thread, one pack behind the caller.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from schemas.errors import ContractError
from workers.durable import whole_file, write_all

BLOCK = 512
MAX_KEY_BYTES = 88
"""`<key>.safetensors` must fit the 100 bytes that ustar has for a name."""
MAX_MEMBER_BYTES = (1 << 33) - 1
"""ustar has 11 octal digits for a size."""

_END = bytes(2 * BLOCK)
_MEMBER_NAME = re.compile(rf"[0-9A-Za-z_-]{{1,{MAX_KEY_BYTES}}}\.(json|safetensors)")


@dataclass(frozen=True, slots=True)
class PackRecord:
    """Where a pack lies in its shard, in bytes: the whole span, and the content of each member."""

    key: str
    offset: int
    size: int
    header_offset: int
    header_size: int
    header_crc32: int
    arrays_offset: int
    arrays_size: int
    arrays_crc32: int


@dataclass(frozen=True, slots=True)
class ShardSummary:
    """A finished shard: its packs in order, its size in bytes and its sha256 as hex."""

    name: str
    size: int
    sha256: str
    packs: tuple[PackRecord, ...]


class _Place(NamedTuple):
    """A pack on its way to the file; all but `header` in bytes."""

    key: str
    start: int
    head: int  # from `start` to the content of the second member
    header: bytes
    arrays_size: int
    end: int


class ShardWriter:
    """Appends packs to one shard; made by `shard_writer`.

    A second thread checks, hashes and writes a pack while the caller makes the next one: all that
    releases the GIL, and takes about as long as making a pack.
    """

    def __init__(self, name: str, descriptor: int, thread: ThreadPoolExecutor) -> None:
        """`descriptor` is open for writing and empty; `thread` is one thread, to keep order."""
        self._name = name
        self._descriptor = descriptor
        self._thread = thread
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._records: list[PackRecord] = []
        self._pending: Future[None] | None = None

    def add_pack(self, key: str, header: bytes, arrays: Sequence[memoryview]) -> None:
        """Append both members of a pack; `arrays` are byte buffers that nobody may change any more.

        Raises ContractError for a key or a size that ustar cannot hold, and OSError, also that of
        the pack before.
        """
        arrays_size = sum(map(len, arrays))
        head = _tar_header(f"{key}.json", len(header)) + header + bytes(-len(header) % BLOCK)
        head += _tar_header(f"{key}.safetensors", arrays_size)
        start, padding = self._size, bytes(-arrays_size % BLOCK)
        self._size += len(head) + arrays_size + len(padding)
        place = _Place(key, start, len(head), header, arrays_size, self._size)
        self._wait()  # one pack ahead, so that memory stays that of two packs
        buffers = [memoryview(head), *arrays, memoryview(padding)]
        self._pending = self._thread.submit(self._write_pack, place, buffers)

    def finish(self) -> ShardSummary:
        """Write the end of the archive; nothing can be added after it."""
        self._wait()
        self._write([memoryview(_END)])
        size = self._size + len(_END)
        return ShardSummary(self._name, size, self._sha256.hexdigest(), tuple(self._records))

    def _wait(self) -> None:
        if self._pending:
            self._pending.result()

    def _write_pack(self, place: _Place, buffers: list[memoryview]) -> None:
        crc32 = 0
        for buffer in buffers[1:-1]:
            crc32 = zlib.crc32(buffer, crc32)
        self._write(buffers)
        record = PackRecord(
            key=place.key,
            offset=place.start,
            size=place.end - place.start,
            header_offset=place.start + BLOCK,
            header_size=len(place.header),
            header_crc32=zlib.crc32(place.header),
            arrays_offset=place.start + place.head,
            arrays_size=place.arrays_size,
            arrays_crc32=crc32,
        )
        self._records.append(record)

    def _write(self, buffers: list[memoryview]) -> None:
        write_all(self._descriptor, buffers)
        for buffer in buffers:
            self._sha256.update(buffer)


@contextmanager
def shard_writer(path: Path) -> Iterator[ShardWriter]:
    """A writer whose shard appears under `path` when the block ends without an exception.

    Call `finish` last inside the block. What is written between it and the end of the block (side
    files) is there before the shard is.
    """
    with whole_file(path) as descriptor, ThreadPoolExecutor(1) as thread:
        yield ShardWriter(path.name, descriptor, thread)


def _tar_header(name: str, size: int) -> bytes:
    if not _MEMBER_NAME.fullmatch(name):
        raise ContractError(f"{name!r}: a key has 1 to {MAX_KEY_BYTES} letters, digits, - or _")
    if size > MAX_MEMBER_BYTES:
        raise ContractError(f"{name} has {size} bytes; a tar member holds {MAX_MEMBER_BYTES}")
    before = [
        name.encode().ljust(100, b"\0"),
        b"0000644\0",  # mode
        b"0000000\0" * 2,  # owner and group
        b"%011o\0" % size,
        b"%011o\0" % 0,  # time
    ]
    after = [b"0", bytes(100), b"ustar\0" + b"00", bytes(247)]  # a file; no link, no names
    # the checksum counts its own eight bytes as spaces
    checksum = sum(b"".join(before + after)) + 8 * ord(" ")
    return b"".join([*before, b"%06o\0 " % checksum, *after])
