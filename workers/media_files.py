"""Reading media below one root: byte ranges of files and of tar members, with few files open.

Descriptors and tar indexes are kept in bounded least-recently-used order. What was opened, or was
looked for in vain, is noted for change detection. One object belongs to one thread.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from schemas.reasons import Reason
from workers.faults import Fault
from workers.tarindex import TarIndex, scan

MAX_OPEN_FILES = 64
MAX_TAR_INDEXES = 8
_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class Input:
    """A file that an output depends on; size and mtime are -1 where it was missing."""

    path: str  # as given, relative to the root
    absolute: str
    size: int
    mtime_ns: int


class MediaFiles:
    """Media below `root`. A context manager: leaving it closes the files."""

    def __init__(self, root: Path) -> None:
        self.inputs: dict[str, Input] = {}
        self._root = str(root.absolute())
        self._open: OrderedDict[str, tuple[int, int]] = OrderedDict()
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
            os.close(self._open.popitem()[1][0])

    def locate(self, path: str, member: str) -> tuple[int, int]:
        """Offset and size of a file ("" for `member`) or of a tar member.

        Raises Fault: missing_media, or damaged_archive where the member may be lost in damage.
        """
        if not member:
            return 0, self._file(path)[1]
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
            self._indexes[path] = scan(self._file(path)[0])
            if len(self._indexes) > MAX_TAR_INDEXES:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(path)
        return self._indexes[path]

    def read(self, path: str, offset: int, size: int) -> bytes:
        """The bytes of one range. Raises Fault(TRUNCATED) where the file ends before."""
        fd, _ = self._file(path)
        data = os.pread(fd, size, offset)
        while len(data) < size:  # one call reads 2 GiB at most
            more = os.pread(fd, size - len(data), offset + len(data))
            if not more:
                what = f"{path} bytes {offset}+{size}: the file ends after {len(data)} of them"
                raise Fault(Reason.TRUNCATED, what)
            data += more
        return data

    def open_range(self, path: str, offset: int, size: int) -> RangeFile:
        """A seekable file over one range, to be closed by the caller; nothing is read yet."""
        return RangeFile(os.dup(self._file(path)[0]), offset, size)

    def _file(self, path: str) -> tuple[int, int]:
        """Descriptor and size of a regular file."""
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        absolute = f"{self._root}/{path}"
        try:
            fd = os.open(absolute, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            if error.errno not in _NO_SUCH_FILE:
                raise
            self.inputs[path] = Input(path, absolute, -1, -1)
            raise Fault(Reason.MISSING_MEDIA, f"{path}: {error.strerror}") from error
        found = os.fstat(fd)
        self.inputs[path] = Input(path, absolute, found.st_size, found.st_mtime_ns)
        if not stat.S_ISREG(found.st_mode):  # a pipe would wait for ever
            os.close(fd)
            raise Fault(Reason.MISSING_MEDIA, f"{path}: not a regular file")
        self._open[path] = fd, found.st_size
        if len(self._open) > MAX_OPEN_FILES:
            os.close(self._open.popitem(last=False)[1][0])
        return self._open[path]


class RangeFile:
    """A read-only, seekable binary file over a byte range of a descriptor that it owns."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd = fd
        self._offset = offset
        self._size = size
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`; fewer only at the end."""
        left = max(0, self._size - self._position)
        data = os.pread(
            self._fd, left if size < 0 else min(size, left), self._offset + self._position
        )
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
        """Close the descriptor."""
        os.close(self._fd)
