"""Reading media below one root: byte ranges of files and of tar members, with few files open.

The root is any folder, on disk or on S3. Open files and tar indexes are kept in bounded
least-recently-used order. What was opened, or was looked for in vain, is noted for change
detection. One object belongs to one thread.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from schemas.reasons import Reason
from workers.faults import Fault
from workers.storage.folder import Folder, folder_of
from workers.storage.local import LocalFolder
from workers.storage.staging import Staging
from workers.tarindex import TarIndex, scan

MAX_OPEN_FILES = 64
MAX_OPEN_REMOTE = 16
"""Each holds what was read ahead: 8 MiB, of small files all there is."""
MAX_TAR_INDEXES = 8
_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO)

StandIns = Mapping[str, tuple[Folder, str]]
"""Path below the root -> the folder and path of the file that is read in its place: what was
unpacked from a compressed one.
"""


@dataclass(frozen=True, slots=True)
class Input:
    """A file that an output depends on; size -1 and no version where it was missing."""

    path: str  # as given, relative to the root
    size: int
    version: str


class _Open(Protocol):
    """An open file."""

    size: int
    version: str

    def read(self, size: int, offset: int) -> bytes:
        """So many bytes from an offset on; fewer only at the end of the file."""

    def again(self) -> tuple[Callable[[int, int], bytes], Callable[[], None]]:
        """`read` and `close` of the same file opened once more."""

    def index(self) -> TarIndex:
        """The members, where it is a tar."""

    def close(self) -> None:
        """Close it."""


class MediaFiles:
    """Media below `root`. A context manager: leaving it closes the files."""

    def __init__(
        self,
        root: Folder | Path,
        stand_ins: StandIns | None = None,
        staging: Staging | None = None,
    ) -> None:
        """With `staging`, remote tars that have to be indexed are copied to local disk."""
        self.inputs: dict[str, Input] = {}
        self._root = folder_of(root) if isinstance(root, Path) else root
        self._stand_ins = stand_ins or {}
        self._staging = staging
        self._most = MAX_OPEN_FILES if isinstance(self._root, LocalFolder) else MAX_OPEN_REMOTE
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._indexes: OrderedDict[str, TarIndex] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every file; the object may be used again."""
        while self._open:
            self._open.popitem()[1].close()

    def locate(self, path: str, member: str) -> tuple[int, int]:
        """Offset and size of a file ("" for `member`) or of a tar member.

        Raises Fault: missing_media, or damaged_archive where the member may be lost in damage.
        """
        if not member:
            return 0, self._file(path).size
        index = self.index(path)
        if member in index.members:
            return index.members[member]
        if damage := index.damage:
            what = f"{path}: damaged at byte {damage.offset} ({damage.what})"
            raise Fault(Reason.DAMAGED_ARCHIVE, f"{what}; no member {member!r} before it")
        raise Fault(Reason.MISSING_MEDIA, f"{path}: no member {member!r}")

    def index(self, path: str) -> TarIndex:
        """The members of one tar."""
        if path not in self._indexes:
            self._indexes[path] = self._file(path).index()
            if len(self._indexes) > MAX_TAR_INDEXES:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(path)
        return self._indexes[path]

    def read(self, path: str, offset: int, size: int) -> bytes:
        """The bytes of one range. Raises Fault(TRUNCATED) where the file ends before."""
        data = self._file(path).read(size, offset)
        if len(data) < size:
            what = f"{path} bytes {offset}+{size}: the file ends after {len(data)} of them"
            raise Fault(Reason.TRUNCATED, what)
        return data

    def open_range(self, path: str, offset: int, size: int) -> RangeFile:
        """A seekable file over one range, to be closed by the caller; nothing is read yet."""
        return RangeFile(*self._file(path).again(), offset, size)

    def _opened(self, folder: Folder, path: str) -> _Open:
        if isinstance(folder, LocalFolder):
            return _LocalFile(f"{folder.root}/{path}")
        return _RemoteFile(folder, path, self._staging)

    def _file(self, path: str) -> _Open:
        """A regular file, open."""
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        folder, name = self._stand_ins.get(path, (self._root, path))
        try:
            opened = self._opened(folder, name)
        except FileNotFoundError as error:
            self.inputs[path] = Input(path, -1, "")
            raise Fault(Reason.MISSING_MEDIA, f"{path}: {error.strerror}") from error
        if path not in self._stand_ins:
            self.inputs[path] = Input(path, opened.size, opened.version)
        self._open[path] = opened
        if len(self._open) > self._most:
            self._open.popitem(last=False)[1].close()
        return opened


class _LocalFile:
    def __init__(self, absolute: str) -> None:
        self._fd = _open_regular(absolute)
        found = os.fstat(self._fd)
        self.size, self.version = found.st_size, str(found.st_mtime_ns)

    def read(self, size: int, offset: int) -> bytes:
        return _pread(self._fd, size, offset)

    def again(self) -> tuple[Callable[[int, int], bytes], Callable[[], None]]:
        fd = os.dup(self._fd)
        return lambda size, offset: _pread(fd, size, offset), lambda: os.close(fd)

    def index(self) -> TarIndex:
        return scan(self.read, self.size)

    def close(self) -> None:
        os.close(self._fd)


class _RemoteFile:
    """Reads ahead, so that media that lie side by side share requests."""

    def __init__(self, folder: Folder, path: str, staging: Staging | None) -> None:
        found = folder.stat(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self.size, self.version = found.size, found.version
        self._folder, self._path, self._seen = folder, path, found
        self._staging = staging
        self._file: BinaryIO | None = None
        self._copy: _LocalFile | None = None

    def read(self, size: int, offset: int) -> bytes:
        if self._copy is not None:
            return self._copy.read(size, offset)
        if self._file is None:
            self._file = self._folder.open(self._path, self._seen)
        return _read_at(self._file, size, offset)

    def again(self) -> tuple[Callable[[int, int], bytes], Callable[[], None]]:
        if self._copy is not None:
            return self._copy.again()
        file = self._folder.open(self._path, self._seen)
        return lambda size, offset: _read_at(file, size, offset), file.close

    def index(self) -> TarIndex:
        """All of it is read to be indexed: other blocks, and who reads the members, have a copy."""
        if self._staging and self._copy is None and self.size <= self._staging.budget_bytes:
            copy = self._staging.local(self._folder, self._path, self._seen)
            self._copy = _LocalFile(str(copy))
        return scan(self.read, self.size)

    def close(self) -> None:
        for file in (self._file, self._copy):
            if file is not None:
                file.close()


def _open_regular(absolute: str) -> int:
    """Raises FileNotFoundError where there is no regular file; a pipe would wait for ever."""
    try:
        fd = os.open(absolute, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in _NO_SUCH_FILE:
            raise
        raise FileNotFoundError(error.errno, error.strerror) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return fd


def _pread(fd: int, size: int, offset: int) -> bytes:
    data = os.pread(fd, size, offset)
    while len(data) < size:  # one call reads 2 GiB at most
        more = os.pread(fd, size - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _read_at(file: BinaryIO, size: int, offset: int) -> bytes:
    file.seek(offset)
    return file.read(size)


class RangeFile:
    """A read-only, seekable binary file over a byte range of a file that it owns."""

    def __init__(
        self,
        read: Callable[[int, int], bytes],
        close: Callable[[], None],
        offset: int,
        size: int,
    ) -> None:
        self._read, self._close = read, close
        self._offset = offset
        self._size = size
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`; fewer only at the end."""
        left = max(0, self._size - self._position)
        wanted = left if size < 0 else min(size, left)
        data = self._read(wanted, self._offset + self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move as `io` files do."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The position in the range."""
        return self._position

    def seekable(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._close()
