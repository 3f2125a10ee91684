"""A bounded folder of bytes read before: spans of remote shards, named by the shard's digest.

- A span is written under `<name>.part`, whose lock says that somebody is at it, and renamed. Of a
  process that was killed the part stays, and the next one goes on from there.
- Names tell the content, so nothing goes stale, and data sets, ranks and workers share a folder.
- Over its bound the files not used for longest go. Only names of this form, in a folder of its own,
  are ever removed.
- Where the disk is full, spans are held in memory and the log says so once.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from patchpack.errors import TransferError
from patchpack.transfer import Retry, pieces, shown

_LOG = logging.getLogger("patchpack")
_OURS = re.compile(r"[0-9a-f]{64}-(\d+-\d+|index)(\.part)?")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Wanted:
    """Bytes from `start` up to `stop` of a remote file; `name` is that of the file in the cache."""

    url: str
    name: str
    start: int
    stop: int | None


class Cache:
    """See above. `limit_bytes` may be passed by what is being read at the moment."""

    def __init__(self, folder: Path, limit_bytes: int, retry: Retry) -> None:
        """The folder is made. Raises OSError where it cannot be written."""
        self._folder = folder / "patchpack-1"
        self._limit = limit_bytes
        self._retry = retry
        self._told_full = False
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"the cache cannot be made ({error.strerror}): give another folder as `cache`"
            raise type(error)(error.errno, what, str(self._folder)) from None

    def open(self, wanted: Wanted) -> int:
        """A descriptor of a file with these bytes, fewer where the remote file ends before.

        Raises OSError, TransferError among them.
        """
        path = self._folder / wanted.name
        found = _opened(path)
        if found is not None:
            return found
        try:
            return self._fetched(path, wanted)
        except OSError as error:
            if error.errno not in _FULL:
                raise
        self._evict(keep=0)
        if not self._told_full:
            self._told_full = True
            _LOG.warning("%s: the disk is full: reading without cache", self._folder)
        return self._in_memory(wanted)

    def remove(self, name: str) -> bool:
        """Forget a file whose content proved damaged; whether there was one."""
        try:
            (self._folder / name).unlink()
        except FileNotFoundError:
            return False
        return True

    def _fetched(self, path: Path, wanted: Wanted) -> int:
        part = path.with_name(f"{path.name}.part")
        with self._claimed(path, part, wanted) as descriptor:
            if descriptor is None:  # another one has fetched it in the meantime
                found = _opened(path)
                return found if found is not None else self._in_memory(wanted)
            have = os.fstat(descriptor).st_size
            try:
                self._append(descriptor, wanted, have)
            except OSError as error:
                if error.errno in _FULL:
                    part.unlink(missing_ok=True)
                raise
            part.rename(path)
            found = os.dup(descriptor)
        self._evict(keep=self._limit)
        return found

    def _append(self, descriptor: int, wanted: Wanted, have: int) -> None:
        """Bring the file from `have` bytes to all of them."""
        os.lseek(descriptor, 0, os.SEEK_END)
        for data in pieces(wanted.url, wanted.start + have, wanted.stop, self._retry):
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]

    def _in_memory(self, wanted: Wanted) -> int:
        descriptor = os.memfd_create(wanted.name)
        self._append(descriptor, wanted, 0)
        return descriptor

    @contextmanager
    def _claimed(self, path: Path, part: Path, wanted: Wanted) -> Iterator[int | None]:
        """A descriptor of the part, for us alone; None where the whole file has appeared."""
        descriptor = self._claim(path, part, wanted)
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)  # and with it the lock

    def _claim(self, path: Path, part: Path, wanted: Wanted) -> int | None:
        end = time.monotonic() + self._retry.total_s
        while not path.exists():
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o644)
            if _locked(descriptor, part):
                return descriptor
            os.close(descriptor)
            if time.monotonic() > end:
                what = f"another process has been fetching {part} for {self._retry.total_s:.0f} s"
                raise TransferError(f"{shown(wanted.url)}: {what}")
            time.sleep(_POLL_S)
        return None

    def _evict(self, keep: int) -> None:
        """Remove what was not used for longest until `keep` bytes are left."""
        found = []
        for entry in os.scandir(self._folder):
            if _OURS.fullmatch(entry.name):
                with suppress(FileNotFoundError):
                    stat = entry.stat(follow_symlinks=False)
                    found.append((stat.st_mtime_ns, entry.name, stat.st_size))
        total = sum(size for _, _, size in found)
        for _, name, size in sorted(found):
            if total <= keep:
                return
            if name.endswith(".part") and not self._abandoned(name):
                continue
            if self.remove(name):
                total -= size

    def _abandoned(self, name: str) -> bool:
        """Whether nobody is writing this part."""
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return _locked(descriptor, path)
        finally:
            os.close(descriptor)


def _opened(path: Path) -> int | None:
    """The file, marked as used just now."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with suppress(OSError):  # of a folder that may only be read
        os.utime(descriptor)
    return descriptor


def _locked(descriptor: int, path: Path) -> bool:
    """Whether the lock of this file is ours now, and it still is the one of this name."""
    from fcntl import LOCK_EX, LOCK_NB, flock  # not on Windows, where only `decode` works

    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False
