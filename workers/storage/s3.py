"""A folder at S3, or at a server that speaks its protocol (AWS_ENDPOINT_URL).

Settings and credentials are those of every AWS program, from the environment (AWS_*); none is in a
recipe, a message or a pickle. Nothing is remembered between calls, neither listings nor contents.
`create` needs a server that honours `If-None-Match: *` on put.
"""

from __future__ import annotations

import builtins
import errno
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from workers.storage.entries import Listing, Stat, inside, is_temporary
from workers.storage.ranges import REQUEST_BYTES, cut, requests, slices
from workers.storage.read_ahead import read_ahead
from workers.storage.retry import Retry
from workers.storage.s3_client import Target, call
from workers.storage.s3_read import etag, read
from workers.storage.s3_write import upload

_PLAUSIBLE_BYTES = 256 << 20
"""Ranges that are larger together are held against the object's size before they are asked for."""


@dataclass(frozen=True, slots=True)
class S3Folder:
    """The objects of a bucket whose keys begin with `prefix/`; all of them where it is empty."""

    bucket: str
    prefix: str
    retry: Retry = field(default=Retry(), repr=False)

    @property
    def url(self) -> str:
        """s3://bucket/prefix."""
        return f"s3://{self.bucket}/{self.prefix}".removesuffix("/")

    def stat(self, path: str) -> Stat | None:
        """See Folder."""
        try:
            return _head(self._at(path))
        except FileNotFoundError:
            return None

    def list(self, prefix: str = "") -> Listing:
        """See Folder."""
        root = f"{self.prefix}/" if self.prefix else ""
        start = inside(self.url, prefix).rstrip("/")
        query = {"Prefix": f"{root}{start}/" if start else root}
        bucket = Target(self.bucket, "", self.retry)
        files: Listing = []
        more = True
        while more:
            answer = call(bucket, "list_objects_v2", query)
            for entry in answer.get("Contents", []):
                name = entry["Key"].removeprefix(root)
                if not name.endswith("/") and name and not is_temporary(name):
                    files.append((inside(self.url, name), _stat(entry["Size"], entry)))
            more = answer.get("IsTruncated", False)
            query["ContinuationToken"] = answer.get("NextContinuationToken", "")
        return sorted(files)

    def drafts(self, prefix: str = "") -> Listing:
        """See Folder."""
        del prefix
        return []

    def open(self, path: str, seen: Stat | None = None) -> BinaryIO:
        """See Folder."""
        target = self._at(path)
        found = seen or _head(target)

        def fetch(offset: int, size: int) -> bytes:
            pieces = read(target, cut(offset, offset + size), found.version)
            return b"".join(piece.data for piece in pieces)

        return read_ahead(fetch, found.size)

    def read(self, path: str, offset: int, size: int) -> bytes:
        """See Folder."""
        return self.read_ranges(path, [(offset, size)])[0]

    def read_ranges(
        self, path: str, ranges: Sequence[tuple[int, int]], seen: Stat | None = None
    ) -> builtins.list[bytes]:
        """See Folder."""
        target = self._at(path)
        if sum(size for _, size in ranges) > _PLAUSIBLE_BYTES:
            end = (seen or _head(target)).size
            ranges = [(offset, max(0, min(size, end - offset))) for offset, size in ranges]
        spans = requests(ranges)
        pieces = read(target, spans, seen.version if seen else "")
        return builtins.list(slices(ranges, spans, [piece.data for piece in pieces]))

    def read_whole(self, path: str) -> bytes:
        """See Folder."""
        target = self._at(path)
        [first] = read(target, [(0, REQUEST_BYTES)])  # its answer has the size
        rest = read(target, cut(REQUEST_BYTES, first.total), first.version)
        return b"".join(piece.data for piece in (first, *rest))

    def write_whole(self, path: str, data: bytes) -> None:
        """See Folder."""
        view = memoryview(data)
        upload(self._at(path), len(data), lambda offset, size: bytes(view[offset : offset + size]))

    def create(self, path: str, data: bytes) -> None:
        """See Folder."""
        target = self._at(path)
        writer = {"writer": secrets.token_hex(16)}
        try:
            call(target, "put_object", {"Body": data, "IfNoneMatch": "*", "Metadata": writer})
        except FileExistsError:
            # ours, if an earlier try went through and only its answer was lost
            if call(target, "head_object", {})["Metadata"] != writer:
                raise

    def put(self, local: Path, path: str) -> None:
        """See Folder."""
        with local.open("rb") as file:
            descriptor = file.fileno()
            size = os.fstat(descriptor).st_size
            upload(self._at(path), size, lambda offset, count: os.pread(descriptor, count, offset))
        local.unlink()

    def delete(self, path: str) -> None:
        """See Folder."""
        call(self._at(path), "delete_object", {})

    def _at(self, path: str) -> Target:
        key = f"{self.prefix}/{inside(self.url, path)}".removeprefix("/")
        target = Target(self.bucket, key, self.retry)
        if not path or path.endswith("/"):  # a folder, where there are folders
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), target.url)
        return target


def _head(target: Target) -> Stat:
    answer = call(target, "head_object", {})
    return _stat(answer["ContentLength"], answer)


def _stat(size: int, entry: dict[str, Any]) -> Stat:
    """Of an answer about an object, or an entry of a listing."""
    return Stat(size, etag(entry), entry["LastModified"].timestamp())
