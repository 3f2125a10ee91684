"""Shards: plain ustar, written front to back in one pass with every checksum that is recorded.

Time 0, mode 0644, owner 0, no names: equal packs give equal bytes. The checksums are made in a
second thread, some packs behind the caller.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ALLOCATIONGRANULARITY, PROT_READ, mmap
from pathlib import Path
from typing import NamedTuple

from patchpack.ustar import BLOCK, END, ustar_header
from schemas.errors import ContractError
from workers.durable import whole_file, write_all

MAX_KEY_BYTES = 88
"""`<key>.safetensors` must fit the 100 bytes that ustar has for a name."""
MAX_MEMBER_BYTES = (1 << 33) - 1
"""ustar has 11 octal digits for a size."""

_CHECKED_TOGETHER = 16 << 20
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


class _Pack(NamedTuple):
    """A pack in the file whose checksums are not known yet; offsets and sizes in bytes."""

    key: str
    start: int
    header_size: int
    arrays_start: int
    arrays_size: int
    end: int


class ShardWriter:
    """Appends packs to one shard; made by `shard_writer`.

    A second thread reads back what was written and makes the checksums, many packs at a time: a
    thread that needs the interpreter after every picture waits for it longer than it works.
    """

    def __init__(self, name: str, descriptor: int, thread: ThreadPoolExecutor) -> None:
        """`descriptor` can be read and is empty; `thread` is one thread, to keep order."""
        self._name = name
        self._descriptor = descriptor
        self._thread = thread
        self._sha256 = hashlib.sha256()
        self._size = self._hashed = 0
        self._unchecked: list[_Pack] = []
        self._checking: list[Future[list[PackRecord]]] = []

    def add_pack(self, key: str, header: bytes, arrays: Sequence[memoryview]) -> None:
        """Append both members of a pack; `arrays` are byte buffers, free again when this returns.

        Raises ContractError for a key or a size that ustar cannot hold, and OSError.
        """
        arrays_size = sum(map(len, arrays))
        head = _tar_header(f"{key}.json", len(header)) + header + bytes(-len(header) % BLOCK)
        head += _tar_header(f"{key}.safetensors", arrays_size)
        padding = bytes(-arrays_size % BLOCK)
        write_all(self._descriptor, [memoryview(head), *arrays, memoryview(padding)])
        start, arrays_start = self._size, self._size + len(head)
        self._size = arrays_start + arrays_size + len(padding)
        place = _Pack(key, start, len(header), arrays_start, arrays_size, self._size)
        self._unchecked.append(place)
        if self._size - self._hashed >= _CHECKED_TOGETHER:
            self._check_so_far()

    def finish(self) -> ShardSummary:
        """Write the end of the archive; nothing can be added after it."""
        write_all(self._descriptor, [memoryview(END)])
        self._size += len(END)
        self._check_so_far()
        records = tuple(record for part in self._checking for record in part.result())
        return ShardSummary(self._name, self._size, self._sha256.hexdigest(), records)

    def _check_so_far(self) -> None:
        packs, self._unchecked = self._unchecked, []
        start, self._hashed = self._hashed, self._size
        self._checking.append(self._thread.submit(self._check, packs, start, self._size))

    def _check(self, packs: list[_Pack], start: int, end: int) -> list[PackRecord]:
        """The records of these packs, which fill the file from `start` to `end`."""
        base = start - start % ALLOCATIONGRANULARITY
        mapped = mmap(self._descriptor, end - base, prot=PROT_READ, offset=base)
        with mapped, memoryview(mapped) as view:
            with view[start - base :] as written:
                self._sha256.update(written)
            records = [self._record(pack, view, base) for pack in packs]
        os.fdatasync(self._descriptor)  # while the caller goes on, so that the last one is short
        return records

    def _record(self, pack: _Pack, view: memoryview, base: int) -> PackRecord:
        header_start = pack.start + BLOCK
        return PackRecord(
            key=pack.key,
            offset=pack.start,
            size=pack.end - pack.start,
            header_offset=header_start,
            header_size=pack.header_size,
            header_crc32=_crc32(view, header_start - base, pack.header_size),
            arrays_offset=pack.arrays_start,
            arrays_size=pack.arrays_size,
            arrays_crc32=_crc32(view, pack.arrays_start - base, pack.arrays_size),
        )


def _crc32(view: memoryview, start: int, size: int) -> int:
    with view[start : start + size] as part:
        return zlib.crc32(part)


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
    return ustar_header(name.encode(), size)
