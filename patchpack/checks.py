"""Whether the bytes of a pack are those that the index promises.

Tar readers take a damaged header for the end of the archive and see no altered payload. Here every
byte of a pack is held against the index: crc32 of both members, the tar headers and the padding
against what they must be, and the end of the shard.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from patchpack.errors import DamageError, damage
from patchpack.ustar import BLOCK, END, ustar_header


class Entry(NamedTuple):
    """A pack in the index of its shard, numbers in bytes."""

    key: bytes
    offset: int
    size: int
    header_offset: int
    header_size: int
    header_crc32: int
    arrays_offset: int
    arrays_size: int
    arrays_crc32: int


def check_pack(shard: str, entry: Entry, data: bytes) -> None:
    """Raises DamageError unless `data`, of whole length, is the pack in every bit."""
    view = memoryview(data)
    base = entry.offset
    header_at, header_end = (
        entry.header_offset - base,
        entry.header_offset - base + entry.header_size,
    )
    arrays_at, arrays_end = (
        entry.arrays_offset - base,
        entry.arrays_offset - base + entry.arrays_size,
    )
    if view[:header_at] != ustar_header(entry.key + b".json", entry.header_size):
        raise _altered(shard, entry, ".json", base, "the tar header is altered")
    if zlib.crc32(view[header_at:header_end]) != entry.header_crc32:
        raise _altered(shard, entry, ".json", entry.header_offset, "the content is altered: crc32")
    between = bytes(-entry.header_size % BLOCK) + ustar_header(
        entry.key + b".safetensors", entry.arrays_size
    )
    if view[header_end:arrays_at] != between:
        place = entry.arrays_offset - BLOCK
        raise _altered(shard, entry, ".safetensors", place, "the tar header is altered")
    if zlib.crc32(view[arrays_at:arrays_end]) != entry.arrays_crc32:
        what = "the content is altered: crc32"
        raise _altered(shard, entry, ".safetensors", entry.arrays_offset, what)
    if view[arrays_end:] != bytes(entry.size - arrays_end):
        what = "the padding behind it is altered"
        raise _altered(shard, entry, ".safetensors", base + arrays_end, what)


def cut_short(shard: str, entry: Entry, found: int) -> DamageError:
    """The error for a pack of which only the first `found` bytes are there."""
    ends = entry.offset + found
    member = ".json" if ends < entry.header_offset + entry.header_size else ".safetensors"
    missing = entry.size - found
    return _altered(shard, entry, member, ends, f"the file ends here, {missing} bytes too early")


def check_end(shard: str, tail: bytes, start: int, size: int) -> None:
    """Raises DamageError unless `tail`, the bytes from `start` on, ends the archive at `size`."""
    if len(tail) != size - start:
        what = f"the file ends here, expected {size} bytes"
        raise damage(shard, "", start + len(tail), what)
    if tail != END:
        raise damage(shard, "", start, "the end of the archive is altered")


def _altered(shard: str, entry: Entry, member: str, offset: int, what: str) -> DamageError:
    return damage(shard, entry.key.decode() + member, offset, what)
