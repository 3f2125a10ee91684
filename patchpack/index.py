"""The index of a shard, `.index/<shard>.npy`: one structured row a pack, in file order.

A reader takes the place and the checksum of every pack from here and never parses a tar: a tar does
not say how many members it should have, so damage in one ends it silently.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpack.container import Buffer, FormatError

INDEX = np.dtype(
    [
        ("key", "S88"),
        ("lane", "<u4"),
        ("row", "<u8"),  # of the pack in the global order of its partition
        ("filler", "?"),
        ("offset", "<u8"),  # of the pack, from the start of the shard
        ("size", "<u8"),  # of the pack: headers, both members, padding
        ("header_offset", "<u8"),  # of the content of <key>.json
        ("header_size", "<u8"),
        ("header_crc32", "<u4"),
        ("arrays_offset", "<u8"),  # of the content of <key>.safetensors
        ("arrays_size", "<u8"),
        ("arrays_crc32", "<u4"),
        ("samples", "<u4"),
        ("tokens", "<u8"),  # length of the pack; the cost vector follows
        ("loss_tokens", "<u8"),
        ("cost_tokens", "<u8"),
        ("cost_patches", "<u8"),
        ("cost_attention", "<u8"),
        ("cost_vit_attention", "<u8"),
    ]
)

Index = npt.NDArray[np.void]


def encode_index(index: Index) -> bytes:
    """The rows as the bytes of an .npy file; equal rows give equal bytes."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, index, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def decode_index(data: Buffer) -> Index:
    """The rows in these bytes, a view of them.

    Raises FormatError unless the rows are of this format and follow one another without a gap, each
    with its members inside: a span from here can be read once its end is known to be in the file.
    """
    start = 10 + int.from_bytes(data[8:10], "little")
    shape, dtype = _npy_header(bytes(data[:start]))
    rows = memoryview(data)[start:]
    count = len(rows) // INDEX.itemsize
    if dtype != INDEX or shape != (count,) or len(rows) % INDEX.itemsize:
        raise FormatError(f"index: {shape} of {str(dtype)[:100]} in {len(rows)} bytes")
    index: Index = np.frombuffer(rows, INDEX)
    _check_spans(index)
    return index


@lru_cache(maxsize=64)
def _npy_header(data: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype; those of the shards of a stripe set are parsed once."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    except ValueError as error:
        raise FormatError(f"index: {error}") from None
    if version != (1, 0):
        raise FormatError(f"index: npy version {version}")
    return shape, dtype


def _check_spans(index: Index) -> None:
    column: dict[str, npt.NDArray[Any]] = {name: index[name] for name in INDEX.names or ()}
    # below 2**62 no sum of two can overflow
    sound = all(
        (column[name] < 1 << 62).all() for name in column if name.endswith(("offset", "size"))
    )
    if sound and len(index):
        end = column["offset"] + column["size"]
        header_end = column["header_offset"] + column["header_size"]
        arrays_end = column["arrays_offset"] + column["arrays_size"]
        sound = bool(
            column["offset"][0] == 0
            and (column["offset"][1:] == end[:-1]).all()
            and (column["offset"] < column["header_offset"]).all()
            and (header_end < column["arrays_offset"]).all()
            and (arrays_end <= end).all()
        )
    if not sound:
        raise FormatError("index: the packs do not follow one another, or a member leaves its pack")
