"""The protocol of a folder, and the folder of a URL.

Paths are relative to the folder and separated by `/`. A folder is a frozen value without open
connections: it may be pickled and used in any process. All folders behave alike:

- what is not there, or is no regular file, is a FileNotFoundError; what may not be read or written
  is a PermissionError with the URL;
- a fault that may pass (throttling, 5xx, a timeout, a broken transfer) is tried again for a bounded
  time and then a TransientError; a file that changes while it is read is a BuildError;
- a file is whole under its name, or not there.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from schemas.errors import RecipeError
from workers.storage.entries import Listing, Stat
from workers.storage.local import LocalFolder
from workers.storage.s3 import S3Folder

__all__ = ["Folder", "Listing", "Stat", "folder_of"]


class Folder(Protocol):
    """Files below one root."""

    @property
    def url(self) -> str:
        """The absolute local path, or s3://bucket/prefix."""

    def stat(self, path: str) -> Stat | None:
        """Size and version; None where there is no such regular file."""

    def list(self, prefix: str = "") -> Listing:
        """All files below the folder `prefix`, by path from this folder, sorted by it.

        Files that are being written (`.*.tmp`) are left out; a folder that is not there is empty.
        """

    def drafts(self, prefix: str = "") -> Listing:
        """The files that `list` leaves out: being written, or left by a process that was killed.

        There are none at S3, where what is not whole is not to be seen.
        """

    def open(self, path: str, seen: Stat | None = None) -> BinaryIO:
        """A seekable, buffered file to read; to be closed. Remote files are read ahead.

        `seen`: as the file was. It is not looked at again, and a BuildError where it is another.
        """

    def read(self, path: str, offset: int, size: int) -> bytes:
        """The bytes of one range; fewer only at the end of the file."""

    def read_ranges(
        self, path: str, ranges: Sequence[tuple[int, int]], seen: Stat | None = None
    ) -> builtins.list[bytes]:
        """The bytes of many ranges (offset, size), in their order; they may overlap.

        Remote: near ranges share requests (`workers.storage.ranges`). All is held in memory.
        `seen`: as the file was; a BuildError where it is another.
        """

    def read_whole(self, path: str) -> bytes:
        """The content of one file."""

    def write_whole(self, path: str, data: bytes) -> None:
        """`data` as the content of the file, replacing what was there in one step."""

    def create(self, path: str, data: bytes) -> None:
        """The same, only if no file of this name exists: else FileExistsError. One writer wins."""

    def put(self, local: Path, path: str) -> None:
        """A finished local file, moved under this name in one step: it is gone from `local` then.

        Where it fails, the local file is still there.
        """

    def delete(self, path: str) -> None:
        """Remove the file, if it is there."""


def folder_of(url: str | Path) -> Folder:
    """The folder at a local path or at s3://bucket/prefix."""
    text = str(url)
    scheme, separator, place = text.partition("://")
    if not separator:
        return LocalFolder(Path(text))
    if scheme != "s3":
        raise RecipeError(f"no storage for {scheme}://, only for local paths and s3://")
    bucket, _, prefix = place.partition("/")
    if not _BUCKET.fullmatch(bucket):  # not shown: it may hold a password
        raise RecipeError("expected s3://bucket/prefix; credentials come from the environment")
    return S3Folder(bucket, prefix.strip("/"))


_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")
