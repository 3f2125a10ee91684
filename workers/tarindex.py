"""The members of a plain tar by their headers alone: name → byte range of the data.

Each 512-byte header is read with one `pread`, verified by its checksum, and leads to the next.
ustar, GNU long names and PAX `path` and `size` are understood; links, devices and sparse files are
passed over. Some 130,000 headers a second, where `tarfile` does 30,000 and takes damage for
the end of the archive without a word.

- Damage (a wrong checksum, data beyond the end of the file, a missing end mark, bytes after it) is
  kept with its position. Members before it stay usable; what lies behind it cannot be trusted.
- Of members with one name the first counts; the name is kept in `repeated`.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field

BLOCK = 512
MAX_EXTENSION_BYTES = 1 << 20
_ZERO = bytes(BLOCK)
_REGULAR = b"0\x007"
_NO_DATA = b"123456"  # links, devices, directories, pipes: their size field means nothing
_EXTENSIONS = b"LKxg"
_READ_BYTES = 1 << 20
_ADLER = 65521
"""The low half of adler32 is 1 + the sum of the bytes modulo this: 20 times as fast as sum()."""


@dataclass(frozen=True)
class Damage:
    """Where an archive stops being readable, and why."""

    offset: int
    what: str


@dataclass(frozen=True)
class TarIndex:
    """Byte ranges of the regular members, and what was wrong."""

    members: dict[str, tuple[int, int]]
    repeated: frozenset[str]
    damage: Damage | None


class _DamagedError(Exception):
    """Ends a scan; `scan` is its one boundary."""


@dataclass
class _Scan:
    fd: int
    size: int
    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)


@dataclass
class _Stated:
    """What extended headers say of the member after them."""

    name: bytes = b""
    size: int | None = None
    sparse: bool = False


def scan(fd: int) -> TarIndex:
    """Index the tar open at this descriptor. Raises OSError where reading itself fails."""
    state = _Scan(fd, os.fstat(fd).st_size)
    position: int | None = 0
    damage, begin = None, 0
    try:
        while position is not None:
            begin = position
            position = _member(state, begin)
    except _DamagedError as error:
        damage = Damage(begin, str(error))
    return TarIndex(state.members, frozenset(state.repeated), damage)


def _member(state: _Scan, position: int) -> int | None:
    """Note the member whose first header stands here: the position of the next, None at the end."""
    stated = _Stated()
    while True:
        header = os.pread(state.fd, BLOCK, position)
        if header == _ZERO:
            return _end(state, position)
        _verify(header)
        data = position + BLOCK
        if header[156] not in _EXTENSIONS:
            return _note(state, header, data, stated)
        size = _number(header[124:136])
        _within(state, data, size)
        if header[156] in b"Lx":
            _extend(stated, header[156:157], _extension(state, data, size))
        position = data + _padded(size)


def _note(state: _Scan, header: bytes, data: int, stated: _Stated) -> int:
    kind = header[156:157]
    if kind in _NO_DATA:
        return data
    size = _number(header[124:136]) if stated.size is None else stated.size
    if kind == b"S":
        data = _after_sparse_map(state, header, data)
    _within(state, data, size)
    name = (stated.name or _name(header)).removeprefix(b"./").decode("utf-8", "surrogateescape")
    if kind in _REGULAR and name and not name.endswith("/") and not stated.sparse:
        if name in state.members:
            state.repeated.add(name)
        else:
            state.members[name] = (data, size)
    return data + _padded(size)


def _verify(header: bytes) -> None:
    if len(header) < BLOCK:
        what = "a header is cut off" if header else "no end mark: the file may be cut off"
        raise _DamagedError(what)
    stated = _number(header[148:156])
    field_sum = sum(header[148:156]) - 8 * 0x20  # the checksum counts its own field as spaces
    if zlib.adler32(header) & 0xFFFF == (1 + stated + field_sum) % _ADLER:
        return
    unsigned = sum(header) - field_sum
    high = sum(byte > 127 for byte in header[:148] + header[156:])
    if stated not in (unsigned, unsigned - 256 * high):  # some old tars summed signed bytes
        raise _DamagedError(f"a header's checksum is {stated}, should be {unsigned}")


def _number(text: bytes) -> int:
    """An octal field, or GNU's base-256 where the first bit is set."""
    if text[0] == 0x80:
        return int.from_bytes(text[1:], "big")
    digits = text.strip(b" \0") or b"0"
    if not digits.isdigit():  # int() would take signs and underscores
        raise _DamagedError(f"a header's field {text!r} is not a number")
    try:
        return int(digits, 8)
    except ValueError:
        raise _DamagedError(f"a header's field {text!r} is not octal") from None


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].split(b"\0", 1)[0]):
        name = prefix + b"/" + name
    return name


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _within(state: _Scan, data: int, size: int) -> None:
    if data + size > state.size:
        left = max(0, state.size - data)
        raise _DamagedError(f"a member of {size} bytes, but the file ends after {left}")


def _extension(state: _Scan, data: int, size: int) -> bytes:
    if size > MAX_EXTENSION_BYTES:
        raise _DamagedError(f"an extended header of {size} bytes, over {MAX_EXTENSION_BYTES}")
    return os.pread(state.fd, size, data)


def _extend(stated: _Stated, kind: bytes, data: bytes) -> None:
    if kind == b"L":
        stated.name = stated.name or data.split(b"\0", 1)[0]
        return
    for key, value in _pax_records(data):
        if key == b"path":
            stated.name = value
        elif key.startswith(b"GNU.sparse."):
            stated.sparse = True
        elif key == b"size":
            if not value.isdigit() or len(value) > 18:
                raise _DamagedError(f"an extended header states the size {value[:20]!r}")
            stated.size = int(value)


def _pax_records(data: bytes) -> list[tuple[bytes, bytes]]:
    """Keys and values of `<length> <key>=<value>\\n` one after another."""
    records, begin = [], 0
    while begin < len(data) and data[begin]:
        space = data.find(b" ", begin, begin + 9)
        length = data[begin:space]
        end = begin + int(length) if length.isdigit() else 0
        if not begin < space < end <= len(data):
            raise _DamagedError("an extended header has a record of impossible length")
        key, _, value = data[space + 1 : end - 1].partition(b"=")
        records.append((key, value))
        begin = end
    return records


def _after_sparse_map(state: _Scan, header: bytes, data: int) -> int:
    """Where the data of an old GNU sparse file begins: its map may go on in further blocks."""
    goes_on = header[482]
    while goes_on:
        block = os.pread(state.fd, BLOCK, data)
        if len(block) < BLOCK:
            raise _DamagedError("a sparse map is cut off")
        goes_on, data = block[504], data + BLOCK
    return data


def _end(state: _Scan, position: int) -> int | None:
    """Two zero blocks end an archive; what follows may only be padding."""
    if os.pread(state.fd, BLOCK, position + BLOCK) != _ZERO:
        raise _DamagedError("a zeroed header where a member or two zero blocks should be")
    position += 2 * BLOCK
    while rest := os.pread(state.fd, _READ_BYTES, position):
        if rest.count(0) != len(rest):
            raise _DamagedError("data after the end mark: zeroed headers, or a second archive")
        position += len(rest)
    return None
