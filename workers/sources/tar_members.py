"""The members of a WebDataset tar as a table, one sample after another.

A member's key is its name up to the first dot of the last part, its extension the rest, as the
library `webdataset` has it. Samples come in the order of their first members; members of one sample
may lie anywhere. A key that comes again with an extension that it had begins a sample of its own,
which is dropped, as nobody can tell what belongs to what. Links, devices and sparse files stay in
the table with a reason, and so does damage: at the sample that it spoiled, or as one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import pyarrow as pa

from schemas.errors import RecipeError
from schemas.reasons import Reason
from workers.tarindex import DamagedTarError, Entry, walk

if TYPE_CHECKING:
    from workers.storage.folder import Folder

_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
}


class Member(NamedTuple):
    """One row of the index."""

    sample: int  # counted from 0
    key: str
    extension: str  # as it is written
    offset: int
    size: int
    reason: str | None = None  # a Reason: missing_media spoils what needs the member, others all
    message: str | None = None


MEMBERS = pa.schema(
    [
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("extension", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("message", pa.string()),
    ]
)


def index(folder: Folder, path: str, at: str = "") -> pa.Table:
    """MEMBERS of the tar at `path`; `at` is where its bytes lie in `folder`, if not there.

    Raises RecipeError where it is not there, or no tar at all.
    """
    place = at or path
    found = folder.stat(place)
    if found is None:
        raise RecipeError(f"{folder.url}/{place}: no such file")
    samples = _Samples()
    with closing(folder.open(place, found)) as file:
        try:
            for entry in walk(partial(read_at, file), found.size):
                samples.add(entry)
        except DamagedTarError as error:
            if error.offset == 0 and not error.name:
                begin = read_at(file, 2, 0)
                hint = "; it is compressed: name it .tar.gz" if begin == b"\x1f\x8b" else ""
                raise RecipeError(f"{folder.url}/{path}: not a tar: {error}{hint}") from error
            samples.damage(path, error)
    return samples.table()


def members_of(table: pa.Table, start: int, end: int) -> Iterator[Member]:
    """Rows of an index."""
    columns = table.slice(start, end - start).to_pydict()
    return map(Member, *(columns[name] for name in MEMBERS.names))


def read_at(file: BinaryIO, size: int, offset: int) -> bytes:
    """So many bytes from an offset on."""
    file.seek(offset)
    return file.read(size)


def key_of(name: bytes) -> tuple[str, str]:
    """Key and extension of a member's name; "" and "" where it belongs to no sample.

    >>> key_of(b"a.b/000.0.jpg"), key_of(b"a/.hidden.jpg"), key_of(b"__meta__"), key_of(b"LICENSE")
    (('a.b/000', '0.jpg'), ('', ''), ('', ''), ('', ''))
    """
    folder, slash, last = name.decode("utf-8", "backslashreplace").rpartition("/")
    stem, dot, extension = last.partition(".")
    if not (stem and dot and extension):
        return "", ""
    return f"{folder}{slash}{stem}", extension


class _Samples:
    """Members by sample, on the way through a tar."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, int], list[Member]] = {}
        self._times: dict[tuple[str, str], int] = {}

    def add(self, entry: Entry) -> None:
        """Note a member, unless it belongs to no sample."""
        key, extension = key_of(entry.name)
        if not key or entry.kind == b"5" or entry.name.endswith(b"/"):
            return
        member = Member(-1, key, extension, entry.offset, entry.size)
        times = self._times.get((key, extension.lower()), 0)
        self._times[key, extension.lower()] = times + 1
        if times:
            what = f"{key}.{extension} comes again at byte {entry.header}; the first counts"
            member = member._replace(reason=Reason.DUPLICATE_ID.value, message=what)
        elif not entry.is_file:
            kind = _KINDS.get(entry.kind, f"of type {entry.kind!r}")
            what = f"{key}.{extension} at byte {entry.header} is {kind}, no file"
            member = member._replace(reason=Reason.MISSING_MEDIA.value, message=what)
        self._samples.setdefault((key, times), []).append(member)

    def damage(self, path: str, error: DamagedTarError) -> None:
        """Note what the damage spoiled: the member that is cut off, or else the sample before it if
        it has not all that the one before that has; or else what lies behind, as one sample.
        """
        key, extension = key_of(error.name)
        what = f"{path}: damaged at byte {error.offset} ({error})"
        member = Member(-1, key, extension, error.offset, 0, Reason.DAMAGED_ARCHIVE.value, what)
        if key:
            self._samples.setdefault((key, 0), []).append(member)
        elif half := self._half_sample():
            half.append(member._replace(key=half[0].key))
        else:
            member = member._replace(key=f"damaged-at-{error.offset}")
            self._samples["", 0] = [member]

    def _half_sample(self) -> list[Member] | None:
        by_end = sorted(self._samples.values(), key=lambda members: members[-1].offset)
        if len(by_end) < 2:
            return None
        before, last = ({member.extension for member in members} for members in by_end[-2:])
        return by_end[-1] if before - last else None

    def table(self) -> pa.Table:
        """All members, sample by sample."""
        rows = [
            member._replace(sample=number)
            for number, members in enumerate(self._samples.values())
            for member in members
        ]
        columns = zip(*rows, strict=True) if rows else [[]] * len(MEMBERS)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, MEMBERS, strict=True)]
        return pa.Table.from_arrays(arrays, schema=MEMBERS)
