"""A pack as the bytes of its two members, and how packs are made of what was read."""

from __future__ import annotations

from typing import NamedTuple

from patchpack.checks import Entry
from patchpack.container import FormatError
from patchpack.layout import Pack, decode, encode


class Members(NamedTuple):
    """A pack, not decoded; `decode(header, arrays)` makes the pack of it."""

    key: str
    header: memoryview
    arrays: memoryview


def members_of(entry: Entry, data: bytes) -> Members:
    """The members in the bytes of a whole pack, as views of them."""
    key, offset, _, header_offset, header_size, _, arrays_offset, arrays_size, _ = entry
    view = memoryview(data)
    header, arrays = header_offset - offset, arrays_offset - offset
    return Members(
        key.decode(), view[header : header + header_size], view[arrays : arrays + arrays_size]
    )


def pack_of(entry: Entry, data: bytes) -> Pack:
    """The pack, its arrays and payloads views of the bytes. Raises FormatError."""
    key, header, arrays = members_of(entry, data)
    pack = decode(header, arrays)
    if pack.header.key != key:
        raise FormatError(f"key: the header says {pack.header.key}")
    return pack


def members_of_pack(pack: Pack) -> Members:
    """The members that the pack would be written as."""
    header, arrays = encode(pack)
    return Members(pack.header.key, memoryview(header), memoryview(b"".join(arrays)))


def same(pack: Pack) -> Pack:
    """The pack itself."""
    return pack


PACKS = (pack_of, same)
MEMBERS = (members_of, members_of_pack)
