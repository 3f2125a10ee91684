"""Files that are whole under their name or not there: temporary name, fsync, rename, fsync."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[int]:
    """A descriptor to write to and read; it gets its name if the block ends without exception.

    Several writers of one file do not disturb each other: the last rename wins. The temporary name
    starts with a dot and ends in `.tmp`, so no reader's pattern finds it. An OSError names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)  # a full disk does not say where
        raise
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """`data` as the content of `path`, replacing what was there in one step."""
    with whole_file(path) as descriptor:
        write_all(descriptor, [memoryview(data)])


def write_all(descriptor: int, buffers: list[memoryview]) -> None:
    """Every byte of the buffers in order, in as few system calls as the kernel allows."""
    pending = [buffer for buffer in buffers if len(buffer)]
    while pending:
        written = os.writev(descriptor, pending[:_IOV_MAX])
        done = 0
        while done < len(pending) and written >= len(pending[done]):
            written -= len(pending[done])
            done += 1
        pending = pending[done:]
        if written:
            pending[0] = pending[0][written:]


def sync_directory(path: Path) -> None:
    """Make the names in this folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_IOV_MAX = 1024
