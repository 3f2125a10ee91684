"""A folder on local disk, or on a file system that looks like one."""

from __future__ import annotations

import builtins
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from schemas.errors import BuildError
from workers.durable import sync_directory, whole_file, write_all, write_whole
from workers.storage.entries import Listing, Stat, changed, inside, is_temporary, is_text

_NO_SUCH_FILE = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENXIO,
)
_COPY_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder below `root`. Links are followed: who lays it out may link to other disks."""

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.root.absolute())  # other processes stand elsewhere

    @property
    def url(self) -> str:
        """The absolute path."""
        return str(self.root)

    def stat(self, path: str) -> Stat | None:
        """See Folder."""
        try:
            found = os.stat(self._at(path))  # noqa: PTH116  (a call per media file)
        except OSError as error:
            if error.errno in _NO_SUCH_FILE:
                return None
            raise
        return _stat(found) if stat.S_ISREG(found.st_mode) else None

    def list(self, prefix: str = "") -> Listing:
        """See Folder."""
        files = sorted(entry for entry in self._below(prefix) if not is_temporary(entry[0]))
        for name, _ in files:
            if not is_text(name):
                raise BuildError(f"{self.url}: a file's name is not UTF-8: {name!r}")
        return files

    def drafts(self, prefix: str = "") -> Listing:
        """See Folder."""
        return sorted(entry for entry in self._below(prefix) if is_temporary(entry[0]))

    def open(self, path: str, seen: Stat | None = None) -> BinaryIO:
        """See Folder."""
        return os.fdopen(self._open(path, seen), "rb")

    def read(self, path: str, offset: int, size: int) -> bytes:
        """See Folder."""
        return self.read_ranges(path, [(offset, size)])[0]

    def read_ranges(
        self, path: str, ranges: Sequence[tuple[int, int]], seen: Stat | None = None
    ) -> builtins.list[bytes]:
        """See Folder."""
        descriptor = self._open(path, seen)
        try:
            end = os.fstat(descriptor).st_size
            return [_read(descriptor, offset, min(size, end - offset)) for offset, size in ranges]
        finally:
            os.close(descriptor)

    def read_whole(self, path: str) -> bytes:
        """See Folder."""
        with self.open(path) as file:
            return file.read()

    def write_whole(self, path: str, data: bytes) -> None:
        """See Folder."""
        write_whole(Path(self._at(path)), data)

    def create(self, path: str, data: bytes) -> None:
        """See Folder."""
        final = Path(self._at(path))
        draft = final.with_name(f".{final.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        try:
            write_whole(draft, data)
            os.link(draft, final)
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final)) from None
        finally:
            draft.unlink(missing_ok=True)
        sync_directory(final.parent)

    def put(self, local: Path, path: str) -> None:
        """See Folder."""
        final = Path(self._at(path))
        final.parent.mkdir(parents=True, exist_ok=True)
        with local.open("rb") as file:
            os.fsync(file.fileno())
            try:
                local.replace(final)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                with whole_file(final) as descriptor:
                    while piece := file.read(_COPY_BYTES):
                        write_all(descriptor, [memoryview(piece)])
                local.unlink()
        sync_directory(final.parent)

    def delete(self, path: str) -> None:
        """See Folder."""
        try:
            os.unlink(self._at(path))  # noqa: PTH108
        except OSError as error:
            if error.errno not in _NO_SUCH_FILE:
                raise

    def _below(self, prefix: str) -> Iterator[tuple[str, Stat]]:
        start = inside(self.url, prefix).rstrip("/")
        return _files(self._at(start), f"{start}/" if start else "")

    def _at(self, path: str) -> str:
        return f"{self.root}/{inside(self.url, path)}"

    def _open(self, path: str, seen: Stat | None = None) -> int:
        """A descriptor of a regular file. A pipe would wait for ever, so nothing here waits."""
        absolute = self._at(path)
        try:
            descriptor = os.open(absolute, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in _NO_SUCH_FILE:
                raise _missing(absolute) from None
            raise
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and seen in (None, _stat(found)):
            return descriptor
        os.close(descriptor)
        raise changed(absolute) if stat.S_ISREG(found.st_mode) else _missing(absolute)


def _missing(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _stat(found: os.stat_result) -> Stat:
    return Stat(found.st_size, str(found.st_mtime_ns), found.st_mtime)


def _read(descriptor: int, offset: int, size: int) -> bytes:
    """The bytes of a range; fewer where the file ends before. One call reads 2 GiB at most."""
    pieces = []
    while size > 0 and (piece := os.pread(descriptor, size, offset)):
        pieces.append(piece)
        offset, size = offset + len(piece), size - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _files(top: str, prefix: str) -> Iterator[tuple[str, Stat]]:
    """Regular files below a folder. A link to a folder that it lies in is not followed."""
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(top, prefix, frozenset())]
    while waiting:
        folder, names, above = waiting.pop()
        try:
            here = os.stat(folder)  # noqa: PTH116
            identity = here.st_dev, here.st_ino
            if identity in above:
                continue
            entries = os.scandir(folder)
        except OSError as error:
            if error.errno in _NO_SUCH_FILE:
                continue
            raise
        with entries:
            for entry in entries:
                found = _entry_stat(entry)
                if found and stat.S_ISDIR(found.st_mode):
                    waiting.append((entry.path, f"{names}{entry.name}/", above | {identity}))
                elif found and stat.S_ISREG(found.st_mode):
                    yield f"{names}{entry.name}", _stat(found)


def _entry_stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    """None for what was removed meanwhile, and for a link to nothing."""
    try:
        return entry.stat()
    except OSError as error:
        if error.errno in _NO_SUCH_FILE:
            return None
        raise
