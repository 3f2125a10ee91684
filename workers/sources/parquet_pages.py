"""Where the values of a Parquet column stand in the file, if they stand there as they are.

That is so in column chunks of byte arrays that are neither compressed nor dictionary-encoded, as
`datasets` writes media since version 4. A page then is a header (Thrift compact protocol), levels,
and for each value that is not null its length in four bytes and its bytes:

    page header | length of levels, levels (nesting, nulls) | 5 h e l l o | 2 o k | …

Only headers and lengths are read, no value. Anything unexpected gives None: then values are copied.
Format: apache/parquet-format README.md, Encodings.md, src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from workers.tarindex import Read

_HEADER_BYTES = 64 << 10
"""Beyond any page header: those with statistics hold two values cut to a few kilobytes."""
_PLAIN_ENCODINGS = frozenset(("PLAIN", "RLE", "BIT_PACKED"))  # the last two are of levels
_PLAIN, _RLE = 0, 3
_DATA_PAGE, _DATA_PAGE_V2 = 0, 3

Struct = dict[int, Any]


class Leaf(NamedTuple):
    """A column of values in one row group: its chunk, and how deep it is nested."""

    chunk: pq.ColumnChunkMetaData
    max_repetition: int
    max_definition: int


class _UnexpectedError(Exception):
    """Ends a walk; `spans_of` is its one boundary."""


def spans_of(read: Read, leaf: Leaf) -> list[tuple[int, int]] | None:
    """Offset and size of every value that is not null, in order; None where that cannot be said."""
    chunk = leaf.chunk
    is_plain = set(chunk.encodings) <= _PLAIN_ENCODINGS and chunk.physical_type == "BYTE_ARRAY"
    if chunk.compression != "UNCOMPRESSED" or not is_plain or chunk.has_dictionary_page:
        return None
    try:
        return list(_walk(read, leaf))
    except (_UnexpectedError, LookupError, TypeError, struct.error):
        return None


def _walk(read: Read, leaf: Leaf) -> Iterator[tuple[int, int]]:
    position = leaf.chunk.data_page_offset
    end = position + leaf.chunk.total_compressed_size
    left = leaf.chunk.num_values  # nulls too
    while left > 0:
        header, size = parse_struct(read(_HEADER_BYTES, position))
        begin = position + size
        stop = begin + int(header[3])
        if header[2] != header[3] or not begin <= stop <= end:
            raise _UnexpectedError
        values, first = _values(read, header, begin, leaf)
        if not (0 < values <= left and begin <= first <= stop):
            raise _UnexpectedError
        begin, left = first, left - values
        while begin < stop:
            (length,) = struct.unpack("<I", read(4, begin))
            begin += 4 + length
            if begin > stop:
                raise _UnexpectedError
            yield begin - length, length
        position = stop
    if position != end:
        raise _UnexpectedError


def _values(read: Read, header: Struct, begin: int, leaf: Leaf) -> tuple[int, int]:
    """How many values and nulls a page holds, and where its values begin: behind the levels."""
    if header[1] == _DATA_PAGE:
        page = header[5]
        for level in (leaf.max_repetition, leaf.max_definition):
            if level:
                begin += 4 + struct.unpack("<I", read(4, begin))[0]
        encodings = page[2], page[3], page[4]
        wanted = _PLAIN, page[3] if not leaf.max_definition else _RLE
        if encodings[:2] != wanted or (leaf.max_repetition and encodings[2] != _RLE):
            raise _UnexpectedError
        return page[1], begin
    if header[1] != _DATA_PAGE_V2:
        raise _UnexpectedError
    page = header[8]
    if page[4] != _PLAIN:
        raise _UnexpectedError
    return page[1], begin + page[5] + page[6]


def parse_struct(data: bytes, at: int = 0, depth: int = 0) -> tuple[Struct, int]:
    """A struct in Thrift's compact protocol by field numbers, and where it ends.

    Raises IndexError where the data end before. Lists, sets and maps are not in a page header.
    """
    fields: Struct = {}
    number = 0
    while byte := data[at]:
        at += 1
        step, kind = byte >> 4, byte & 15
        if not step:
            step, at = _zigzag(data, at)
            number = 0
        number += step
        if kind in (1, 2):  # true, false
            fields[number] = kind == 1
        elif kind in (4, 5, 6):  # i16, i32, i64
            fields[number], at = _zigzag(data, at)
        elif kind == 8:  # binary
            length, at = _varint(data, at)
            fields[number], at = data[at : at + length], at + length
        elif kind == 12 and depth < 4:
            fields[number], at = parse_struct(data, at, depth + 1)
        else:
            raise _UnexpectedError
    return fields, at + 1


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise _UnexpectedError


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at
