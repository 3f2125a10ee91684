"""One medium measured: where its bytes are, their sha256, and what its header says.

A picture is read whole, since its digest needs every byte; a video is read in pieces. A medium
that is named again in the same block is answered from memory.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from schemas.reasons import Reason
from workers.depth import open_depth
from workers.faults import Fault
from workers.headers import MAX_IMAGE_BYTES, Header, read_header
from workers.media_files import MediaFiles
from workers.sources.sample import DepthRef, MediaRef
from workers.video import MAX_VIDEO_BYTES, probe

Ref = MediaRef | DepthRef

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Medium:
    """What of an item depends on its bytes alone."""

    offset: int
    size: int
    sha256: str
    header: Header
    notes: tuple[str, ...]  # the header's, and the archive's


class Measurer:
    """Media of one block, each measured once."""

    def __init__(self, files: MediaFiles) -> None:
        self._files = files
        self._known: dict[tuple[str, str, str, object], Medium | Fault] = {}

    def __call__(self, ref: Ref) -> Medium:
        """The medium. Raises Fault naming the field, the file, the member and the byte range."""
        key = (_read_as(ref), ref.path, ref.member, _span(ref))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._measure(ref)
        if isinstance(found, Fault):
            raise Fault(found.reason, f"{ref.field}: {found.message}")
        return found

    def origin(self, ref: MediaRef) -> str | None:
        """The medium's file, with its byte range in a tar; None where there is no such file, or
        where the source knew the range and so the origin.
        """
        if ref.span:
            return None
        try:
            offset, size = self._files.locate(ref.path, ref.member)
        except Fault:
            return None
        return f"{ref.path}#{offset}+{size}" if ref.member else ref.path

    def _measure(self, ref: Ref) -> Medium | Fault:
        how = _read_as(ref)
        try:
            offset, size = _span(ref) or self._files.locate(ref.path, ref.member)
        except Fault as fault:
            return Fault(fault.reason, fault.message)
        try:
            _check_size(size, MAX_VIDEO_BYTES if how == "video" else MAX_IMAGE_BYTES)
            read = {"picture": self._picture, "video": self._video, "depth": self._depth}[how]
            sha256, header = read(ref, offset, size)
            return Medium(offset, size, sha256, header, header.notes + self._tar_notes(ref))
        except Fault as fault:
            return Fault(fault.reason, f"{place(ref, offset, size)}: {fault.message}")

    def _picture(self, ref: Ref, offset: int, size: int) -> tuple[str, Header]:
        data = self._files.read(ref.path, offset, size)
        return hashlib.sha256(data).hexdigest(), read_header(data, ref.member or ref.path)

    def _depth(self, ref: Ref, offset: int, size: int) -> tuple[str, Header]:
        data = self._files.read(ref.path, offset, size)
        image = open_depth(data)
        width, height = image.size
        header = Header(format="png", mode=image.mode, width=width, height=height, orientation=1)
        return hashlib.sha256(data).hexdigest(), header

    def _video(self, ref: Ref, offset: int, size: int) -> tuple[str, Header]:
        file = self._files.open_range(ref.path, offset, size)
        try:
            digest = hashlib.sha256()
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
            file.seek(0)
            return digest.hexdigest(), probe(file)
        finally:
            file.close()

    def _tar_notes(self, ref: Ref) -> tuple[str, ...]:
        if not ref.member or _span(ref):
            return ()
        repeated = ref.member in self._files.index(ref.path).repeated
        return ("repeated_member",) if repeated else ()  # the first of that name was taken


def _read_as(ref: Ref) -> str:
    if isinstance(ref, DepthRef):
        return "depth"
    return "video" if ref.kind == "video" else "picture"


def _span(ref: Ref) -> tuple[int, int] | None:
    """The byte range, where the source knew it."""
    return ref.span if isinstance(ref, MediaRef) else None


def place(ref: Ref, offset: int, size: int) -> str:
    """File, member and byte range, for messages."""
    return place_of(ref.path, ref.member, offset, size)


def place_of(path: str, member: str, offset: int, size: int) -> str:
    """The same of a medium that was measured."""
    return f"{path}{f' member {member!r}' if member else ''} bytes {offset}+{size}"


def _check_size(size: int, limit: int) -> None:
    if not size:
        raise Fault(Reason.EMPTY_FILE, "no bytes")
    if size > limit:
        raise Fault(Reason.TOO_MANY_BYTES, f"over the limit of {limit} bytes")
