"""Local copies of remote files, shared by the processes of a machine, within a byte budget.

A shard takes its samples from many files. Read from S3 one by one they would be a request each; a
file copied once is one for 8 MiB or more. A copy is named by URL, path and version, so a changed
file is a new copy. Locks (flock) lie on the copies themselves and end with their process:

- to fetch a copy, one process holds a lock of its name; others wait and find it made;
- to use one, a process holds it shared; to remove one, alone, so no copy in use is removed;
- to make room, one process at a time looks at the sum of all sizes, and where that nears the
  budget counts the folder, where a begun copy has its full size.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from schemas.errors import BuildError
from workers.durable import whole_file, write_all
from workers.storage.entries import Stat, is_temporary
from workers.storage.folder import Folder
from workers.storage.local import LocalFolder
from workers.storage.ranges import cut

_REQUESTS_AT_ONCE = 4
_MAX_HELD = 128
"""Open descriptors of one object."""
_LOCKS = 64
"""Lock files for fetching: few enough to leave lying, many enough that files seldom share one."""
_ROOM_LOCK = ".lock-room"
_DIGITS = 20
"""Of the number in it."""
_NAME = re.compile(r"\.?([0-9a-f]{32}\.staged)(?:\..+\.tmp)?")


class _Copy(NamedTuple):
    path: Path
    size: int
    used_ns: int


class Staging:
    """Copies below `folder`, of `budget_bytes` together. A context manager; for one thread.

    A path that `local` gave may be opened until `local` is called again, at least: where room is
    short, what this object has not asked for the longest goes first. What is open stays readable.
    Copies that other processes use are never removed; what they use may exceed the budget, by one
    copy a process at most.
    """

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        self._folder = folder.absolute()
        self.budget_bytes = budget_bytes
        self._held: OrderedDict[Path, int] = OrderedDict()  # descriptors with a shared lock
        self._seen: dict[tuple[str, str], Stat] = {}

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
        """Let go of all copies; they stay for others until room is needed."""
        while self._held:
            os.close(self._held.popitem()[1])

    def local(self, source: Folder, path: str, seen: Stat | None = None) -> Path:
        """A local file with the content of a file: itself where it is local, else a copy.

        A file's version is looked at once, when this object is first asked for it, or is `seen`.
        Raises BuildError where it is larger than the budget, or changes before it is copied.
        """
        found = seen or self._look(source, path)
        if isinstance(source, LocalFolder):
            return source.root / path
        identity = f"{source.url}/{path}\0{found.version}\0{found.size}"
        copy = self._folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.staged"
        if copy not in self._held and not self._hold(copy):
            self._folder.mkdir(parents=True, exist_ok=True)
            with _locked(self._folder / _fetch_lock(copy.name)):
                while not self._hold(copy):
                    self._fetch(source, path, found, copy)
        self._held.move_to_end(copy)
        return copy

    def _look(self, source: Folder, path: str) -> Stat:
        place = source.url, path
        if place not in self._seen:
            found = source.stat(path)
            if found is None:
                where = f"{source.url}/{path}"
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), where)
            self._seen[place] = found
        return self._seen[place]

    def _hold(self, copy: Path) -> bool:
        """Lock a copy for use; False where there is none."""
        try:
            descriptor = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if os.fstat(descriptor).st_nlink == 0:  # removed between open and lock
            os.close(descriptor)
            return False
        os.utime(descriptor)  # its last use; the times of access are often not kept
        self._held[copy] = descriptor
        if len(self._held) > _MAX_HELD:
            self._release()
        return True

    def _fetch(self, source: Folder, path: str, found: Stat, copy: Path) -> None:
        """Copy the file to its place, whole or not at all; the lock of its name is held."""
        if found.size > self.budget_bytes:
            over = f"are over the staging budget of {self.budget_bytes}"
            raise BuildError(f"{source.url}/{path}: {found.size} bytes {over}")
        for left in self._folder.glob(f".{copy.name}.*.tmp"):  # of a killed process
            left.unlink(missing_ok=True)
        with whole_file(copy) as descriptor:
            with _locked(self._folder / _ROOM_LOCK) as room:
                assert room is not None
                self._reserve(room, found.size)
                os.ftruncate(descriptor, found.size)
            ranges = [(start, stop - start) for start, stop in cut(0, found.size)]
            for first in range(0, len(ranges), _REQUESTS_AT_ONCE):
                now = ranges[first : first + _REQUESTS_AT_ONCE]
                pieces = source.read_ranges(path, now, found)
                write_all(descriptor, [memoryview(piece) for piece in pieces])

    def _reserve(self, room: int, size: int) -> None:
        """Room for `size` bytes more, noted in the lock file: it holds the size of all copies, or
        more, so that they need not be counted for each of thousands of small files.
        """
        noted = os.pread(room, _DIGITS, 0)
        used = int(noted) if noted.isdigit() else self.budget_bytes
        if used + size > self.budget_bytes:
            used = self._make_room(size)
        os.pwrite(room, b"%0*d" % (_DIGITS, used + size), 0)

    def _make_room(self, size: int) -> int:
        """Remove what is used least recently, until `size` bytes more are within the budget; the
        size of what stays.
        """
        copies = self._copies()
        room = self.budget_bytes - size - sum(copy.size for copy in copies)
        sizes = {copy.path: copy.size for copy in copies}
        for copy in copies:
            if room < 0 and copy.path not in self._held and _remove(copy.path):
                room += copy.size
        while room < 0 and self._held:
            if _remove(mine := self._release()):
                room += sizes.get(mine, 0)
        return self.budget_bytes - size - room

    def _copies(self) -> list[_Copy]:
        """All copies, and those that are being made; what a killed process left is removed.

        Files of other names are not ours, and neither counted nor removed.
        """
        copies: dict[str, _Copy] = {}
        for path in self._folder.iterdir():
            named = _NAME.fullmatch(path.name)
            if not named:
                continue
            if is_temporary(path.name) and self._is_left_over(path, named[1]):
                path.unlink(missing_ok=True)
                continue
            for place in (path, self._folder / named[1]):  # it may just have got its name
                with suppress(FileNotFoundError):
                    found = place.stat()
                    copies[named[1]] = _Copy(place, found.st_size, found.st_mtime_ns)
                    break
        return sorted(copies.values(), key=lambda copy: copy.used_ns)

    def _is_left_over(self, temporary: Path, name: str) -> bool:
        """Whether nobody holds the lock that a copy is made under."""
        with _locked(self._folder / _fetch_lock(name), fcntl.LOCK_NB) as lock:
            return lock is not None and temporary.exists()

    def _release(self) -> Path:
        """Let go of the copy that this object has not asked for the longest."""
        path, descriptor = self._held.popitem(last=False)
        os.close(descriptor)
        return path


def _fetch_lock(name: str) -> str:
    """One lock file for all copies whose digest begins alike."""
    return f".lock-{int(name[:2], 16) % _LOCKS:02}"


def _remove(path: Path) -> bool:
    """Remove a copy that nobody uses; whether it is gone."""
    if is_temporary(path.name):
        return False
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
    return True


@contextmanager
def _locked(path: Path, how: int = 0) -> Iterator[int | None]:
    """Hold a lock file alone; its descriptor, or None where it is taken and LOCK_NB says not to
    wait.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | how)
    except BlockingIOError:
        os.close(descriptor)
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
