"""Whether the bytes of a pack are those that the index promises.

Tar readers take a damaged header for the end of the archive and see no altered payload. Here every
byte of a pack is held against the index: crc32 of both members, the tar headers and the padding
against what they must be, and the end of the shard.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from patchpack.errors import DamageError, damage
from patchpack.ustar import BLOCK, END, ustar_header


class Entry(NamedTuple):
    """A pack in the index of its shard, numbers in bytes: the names of a `Row`."""

    key: bytes
    offset: int
    size: int
    header_offset: int
    header_size: int
    header_crc32: int
    arrays_offset: int
    arrays_size: int
    arrays_crc32: int


Row = tuple[bytes, int, int, int, int, int, int, int, int]
"""An Entry as a plain tuple: tens of thousands a second are made, and few looked at by name."""


def check_pack(shard: str, row: Row, data: bytes) -> None:
    """Raises DamageError unless `data`, of whole length, is the pack in every bit."""
    key, base, size, header, header_size, header_crc32, arrays, arrays_size, arrays_crc32 = row
    view = memoryview(data)
    header_end, arrays_end = header + header_size, arrays + arrays_size
    # bytes are compared by memcmp, memoryviews one item after another
    if data[: header - base] != ustar_header(key + b".json", header_size):
        raise _altered(shard, row, ".json", base, "the tar header is altered")
    if crc32(view[header - base : header_end - base]) != header_crc32:
        raise _altered(shard, row, ".json", header, "the content is altered: crc32")
    between = bytes(-header_size % BLOCK) + ustar_header(key + b".safetensors", arrays_size)
    if data[header_end - base : arrays - base] != between:
        place = arrays - BLOCK
        raise _altered(shard, row, ".safetensors", place, "the tar header is altered")
    if crc32(view[arrays - base : arrays_end - base]) != arrays_crc32:
        what = "the content is altered: crc32"
        raise _altered(shard, row, ".safetensors", arrays, what)
    if data[arrays_end - base :] != bytes(base + size - arrays_end):
        what = "the padding behind it is altered"
        raise _altered(shard, row, ".safetensors", arrays_end, what)


def cut_short(shard: str, row: Row, found: int) -> DamageError:
    """The error for a pack of which only the first `found` bytes are there."""
    entry = Entry._make(row)
    ends = entry.offset + found
    member = ".json" if ends < entry.header_offset + entry.header_size else ".safetensors"
    missing = entry.size - found
    return _altered(shard, row, member, ends, f"the file ends here, {missing} bytes too early")


def check_end(shard: str, tail: bytes, start: int, size: int) -> None:
    """Raises DamageError unless `tail`, the bytes from `start` on, ends the archive at `size`."""
    if len(tail) != size - start:
        what = f"the file ends here, expected {size} bytes"
        raise damage(shard, "", start + len(tail), what)
    if tail != END:
        raise damage(shard, "", start, "the end of the archive is altered")


def _altered(shard: str, row: Row, member: str, offset: int, what: str) -> DamageError:
    return damage(shard, row[0].decode() + member, offset, what)
