"""Pieces of files in remote folders, on local disk before a shard is packed.

A shuffled gather must not become a request a picture, nor a whole file for a few pictures of it:

- files that pay to be copied, since many shards take from them, are copied once for all shards of
  the machine (`Staging`);
- of the others, the ranges that this shard takes are read before it is packed, sorted, near ones
  together, several files at a time, and written one behind another into one local file.

`worth_copying` decides by bytes, where a request counts as GAP_BYTES more.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from mmap import PROT_READ, mmap
from pathlib import Path
from typing import NamedTuple

from schemas.errors import BuildError
from workers.storage.folder import Folder, Stat
from workers.storage.ranges import GAP_BYTES, REQUEST_BYTES, requests
from workers.storage.staging import Staging

_AT_ONCE = 16
_READ_BYTES = REQUEST_BYTES
"""What is read of a file at a time, if its ranges do not lie far apart."""


class File(NamedTuple):
    """A file below one of the folders of a shard, by its key; "" is the cache."""

    folder: str
    path: str


class Span(NamedTuple):
    """Bytes of a file."""

    offset: int
    size: int


Wanted = Mapping[File, Iterable[Span]]
"""What a shard takes of each file."""


def worth_copying(
    shards: Iterable[Wanted], stat: Callable[[File], Stat | None], budget_bytes: int
) -> dict[File, Stat]:
    """The files that are copied whole, as they are, given what every shard takes of them.

    None where they do not find room together: then each shard reads what is its own.
    """
    moved: dict[File, int] = {}
    takers: dict[File, int] = {}
    for wanted in shards:
        for file, spans in wanted.items():
            reads = requests(list(spans))
            cost = sum(stop - start + GAP_BYTES for start, stop in reads)
            moved[file] = moved.get(file, 0) + cost
            takers[file] = takers.get(file, 0) + 1
    whole = {}
    for file, cost in moved.items():
        found = stat(file) if takers[file] > 1 else None
        if found and found.size <= cost:
            whole[file] = found
    return whole if sum(found.size for found in whole.values()) <= budget_bytes else {}


@dataclass(frozen=True)
class Sources:
    """Where the pieces of a shard lie."""

    folders: Mapping[str, Folder]
    copied: Mapping[File, Stat]
    """Files that are copied whole, as they were when that was decided."""


class Fetched:
    """What a shard takes of remote files; `draft` is an empty local folder. For one thread."""

    def __init__(self, sources: Sources, staging: Staging, draft: Path) -> None:
        self._sources = sources
        self._staging = staging
        self._file = draft / "pieces"
        self._places: dict[tuple[File, Span], int] = {}
        self._view = memoryview(b"")

    def gather(self, wanted: Wanted) -> None:
        """Read what is not copied whole. Raises BuildError for a file that is not as it was."""
        reads = [
            (file, spans)
            for file, all_spans in sorted(wanted.items())
            if file not in self._sources.copied
            for spans in _portions(sorted(set(all_spans)))
        ]
        end = 0
        with self._file.open("wb") as out, ThreadPoolExecutor(_AT_ONCE) as pool:
            for first in range(0, len(reads), _AT_ONCE):  # no more than that in memory
                now = reads[first : first + _AT_ONCE]
                for (file, spans), data in zip(now, pool.map(self._read, now), strict=True):
                    out.writelines(data)
                    for span in spans:
                        self._places[file, span] = end
                        end += span.size
        if end:
            with self._file.open("rb") as done:
                self._view = memoryview(mmap(done.fileno(), 0, prot=PROT_READ))

    def __call__(self, file: File, span: Span) -> bytes | memoryview:
        """The bytes of one piece."""
        if (file, span) in self._places:
            place = self._places[file, span]
            return self._view[place : place + span.size]
        folder = self._sources.folders[file.folder]
        copy = self._staging.local(folder, file.path, self._sources.copied.get(file))
        descriptor = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _whole(file, span, os.pread(descriptor, span.size, span.offset))
        finally:
            os.close(descriptor)

    def _read(self, one: tuple[File, list[Span]]) -> list[bytes]:
        file, spans = one
        folder = self._sources.folders[file.folder]
        try:
            found = folder.read_ranges(file.path, spans)
        except FileNotFoundError:
            gone = os.strerror(errno.ENOENT)
            raise BuildError(f"{folder.url}/{file.path}: {gone}; {_AGAIN}") from None
        return [_whole(file, span, data) for span, data in zip(spans, found, strict=True)]


_AGAIN = "the file changed while the build read it, build again"


def _whole(file: File, span: Span, data: bytes) -> bytes:
    if len(data) == span.size:
        return data
    if not file.folder:
        raise BuildError(f"{file.path} of the cache is cut short; delete it and build again")
    raise BuildError(f"{file.path}: it ends within bytes {span.offset}+{span.size}; {_AGAIN}")


def _portions(spans: list[Span]) -> Iterator[list[Span]]:
    """Sorted spans of one file in runs of _READ_BYTES or little more."""
    run: list[Span] = []
    for span in spans:
        if run and span.offset + span.size - run[0].offset > _READ_BYTES:
            yield run
            run = []
        run.append(span)
    if run:
        yield run
