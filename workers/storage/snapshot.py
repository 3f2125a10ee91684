"""A remote folder as one process of a build sees it: looked at by listings, not file by file.

A build asks thousands of times whether a file is still what it was. The first files of a folder are
asked for one by one; then the folder is listed, which tells of 1,000 files a request. What was
found, and what a listing did not have, stands until `forget`; but files that were written or
removed through this object are asked for anew.
"""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from workers.storage.entries import Listing, Stat, is_temporary
from workers.storage.folder import Folder
from workers.storage.local import LocalFolder

_FEW = 4
"""Files of one folder that are asked for before it is listed."""
_MANY = 256
"""The same about all that is below it."""


def snapshot(folder: Folder, known: Mapping[str, Stat] | None = None) -> Folder:
    """The folder itself where it is local: to ask a disk costs little."""
    if isinstance(folder, LocalFolder | Snapshot):
        return folder
    return Snapshot(folder, known)


def forget(folder: Folder, below: str = "") -> None:
    """What was listed below a folder of it may have changed."""
    if isinstance(folder, Snapshot):
        folder.forget(below)


class Snapshot:
    """A remote folder, of which some files may be known. Pickled, it is the folder alone: another
    process sees for itself.
    """

    def __init__(self, folder: Folder, known: Mapping[str, Stat] | None = None) -> None:
        self._folder = folder
        self._lock = Lock()
        self._found = dict(known or {})
        self._listed: set[str] = set()
        self._unsure: set[str] = set()
        self._asked: Counter[str] = Counter()

    def __reduce__(self) -> tuple[object, ...]:
        return _itself, (self._folder,)

    def forget(self, below: str = "") -> None:
        """Ask anew for what lies below a folder."""
        start = f"{below}/" if below else ""
        self._found = {p: found for p, found in self._found.items() if not p.startswith(start)}
        self._unsure = {path for path in self._unsure if not path.startswith(start)}
        around = set(_above(f"{start}file"))
        for known in [one for one in self._asked if one in around or one.startswith(start)]:
            del self._asked[known]
        self._listed = {one for one in self._listed if not (one in around or one.startswith(start))}

    @property
    def url(self) -> str:
        """See Folder."""
        return self._folder.url

    def stat(self, path: str) -> Stat | None:
        """See Folder."""
        if path in self._unsure or is_temporary(path):
            return self._folder.stat(path)
        with self._lock:
            if path in self._found or self._is_listed(path):
                return self._found.get(path)
        found = self._folder.stat(path)
        if found:
            self._found[path] = found
        return found

    def _is_listed(self, path: str) -> bool:
        """Whether the path lies below what is listed, or is now, as there were many questions."""
        above = list(_above(path))
        if not self._listed.isdisjoint(above):
            return True
        for folder in above:
            self._asked[folder] += 1
            if self._asked[folder] > (_FEW if folder == above[0] else _MANY):
                self._note(folder, self._folder.list(folder))
                return True
        return False

    def _note(self, folder: str, listing: Listing) -> None:
        self._found.update(listing)
        self._listed.add(folder)

    def list(self, prefix: str = "") -> Listing:
        """See Folder. Listed anew each time."""
        listing = self._folder.list(prefix)
        self._note(prefix.rstrip("/"), listing)
        return listing

    def drafts(self, prefix: str = "") -> Listing:
        """See Folder."""
        return self._folder.drafts(prefix)

    def open(self, path: str, seen: Stat | None = None) -> BinaryIO:
        """See Folder."""
        return self._folder.open(path, seen)

    def read(self, path: str, offset: int, size: int) -> bytes:
        """See Folder."""
        return self._folder.read(path, offset, size)

    def read_ranges(
        self, path: str, ranges: Sequence[tuple[int, int]], seen: Stat | None = None
    ) -> builtins.list[bytes]:
        """See Folder."""
        return self._folder.read_ranges(path, ranges, seen)

    def read_whole(self, path: str) -> bytes:
        """See Folder."""
        return self._folder.read_whole(path)

    def write_whole(self, path: str, data: bytes) -> None:
        """See Folder."""
        self._unsure.add(path)
        self._folder.write_whole(path, data)

    def create(self, path: str, data: bytes) -> None:
        """See Folder."""
        self._unsure.add(path)
        self._folder.create(path, data)

    def put(self, local: Path, path: str) -> None:
        """See Folder."""
        self._unsure.add(path)
        self._folder.put(local, path)

    def delete(self, path: str) -> None:
        """See Folder."""
        self._unsure.add(path)
        self._folder.delete(path)


def _itself(folder: Folder) -> Folder:
    return folder


def _above(path: str) -> Iterator[str]:
    """The folders that a file lies in, the nearest first, the root ("") last."""
    while path:
        path = path.rpartition("/")[0]
        yield path
