"""The safetensors container: typed arrays, written without joining and read without copying.

    [u64 n][n bytes of JSON: name -> dtype, shape, data_offsets][data]

Tensors lie widest dtype first, then by name, as the safetensors library writes them. So each one
is aligned to its own width without a gap (the library refuses gaps), and equal tensors give equal
bytes. bfloat16, which numpy lacks, travels as its bits in uint16.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Buffer = bytes | bytearray | memoryview

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "BF16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}
"""The dtypes that a pack may hold, in the order in which they lie in the file."""

MAX_HEADER_BYTES = 64 << 20
"""More than the entries of the largest pack need; a longer header is damage."""

_RANK = {code: rank for rank, code in enumerate(DTYPES)}
_FAR = 1 << 40
_FAR_BESIDE_NOTHING = 1 << 20
"""numpy multiplies the dimensions of an empty array too, and refuses what overflows."""
_ENTRY = {"dtype", "shape", "data_offsets"}
_FEW = 8
"""Below so many values one loop is faster than three passes."""
_QUOTES = 10
"""Of a name, three keys and a dtype."""


class FormatError(ValueError):
    """Bytes or values that are no pack of format 1; the message names the pack and the field."""


class Tensor(NamedTuple):
    """One named array; `data` has the numpy dtype that `DTYPES` gives for `dtype`."""

    name: str
    dtype: str
    data: Array


def serialize(tensors: Iterable[Tensor]) -> list[memoryview]:
    """The container as buffers to be written one after another; arrays are viewed, not copied.

    Raises FormatError for a name that occurs twice or an array that is not of its dtype.
    """
    ordered = sorted(tensors, key=lambda t: (_RANK[t.dtype], t.name))
    entries: dict[str, object] = {}
    buffers: list[memoryview] = []
    end = 0
    for tensor in ordered:
        if tensor.name in entries or tensor.data.dtype != DTYPES[tensor.dtype]:
            raise FormatError(f"{tensor.name}: twice, or {tensor.data.dtype} as {tensor.dtype}")
        start, end = end, end + tensor.data.nbytes
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.data.shape),
            "data_offsets": [start, end],
        }
        if tensor.data.nbytes:
            buffers.append(np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8).data)
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [memoryview(len(text).to_bytes(8, "little") + text), *buffers]


def parse(data: Buffer) -> list[Tensor]:
    """The tensors of a container in file order, as views of `data`.

    Every length is checked against the bytes that are there before it is used. Raises FormatError.
    """
    view = memoryview(data).cast("B")
    if len(view) < 8:
        raise FormatError(f"container of {len(view)} bytes, expected at least 8")
    size = int.from_bytes(view[:8], "little")
    if size > min(len(view) - 8, MAX_HEADER_BYTES):
        raise FormatError(f"container header of {size} bytes in {len(view)}")
    body = view[8 + size :]
    tensors: list[Tensor] = []
    position = 0
    for name, entry in _entries(bytes(view[8 : 8 + size])).items():
        tensor = _tensor(name, entry, body, position)
        position += tensor.data.nbytes
        tensors.append(tensor)
    if position != len(body):
        raise FormatError(f"container holds {len(body)} bytes of data, its header names {position}")
    return tensors


def _entries(text: bytes) -> dict[str, Any]:
    """What the header says of each tensor. Asking for keys that occur twice takes most of the time,
    so it is done where the quotes do not add up: an entry has ten, as `_tensor` sees to.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return parse_json(text)
    exact = isinstance(value, dict) and text.count(b'"') == _QUOTES * len(value)
    return value if exact else parse_json(text)


def parse_json(data: Buffer) -> dict[str, Any]:
    """A JSON object from untrusted bytes. Raises FormatError, also for a key that occurs twice."""
    try:
        value = json.loads(bytes(data), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not the JSON of a pack: {error}") from None
    if not isinstance(value, dict):
        raise FormatError(f"JSON holds {type(value).__name__}, expected an object")
    return value


def are_sizes(values: object, end: int) -> bool:
    """A list of whole numbers from 0 up to, not including, `end`; True is none."""
    if type(values) is not list:
        return False
    if len(values) < _FEW:
        for value in values:  # noqa: SIM110 - all() takes twice as long
            if type(value) is not int or not 0 <= value < end:
                return False
        return True
    return set(map(type, values)) <= {int} and min(values) >= 0 and max(values) < end


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise FormatError("a key occurs twice")
    return value


def _no_constant(name: str) -> None:
    raise FormatError(f"{name} is no number")


def _tensor(name: str, entry: object, body: memoryview, position: int) -> Tensor:
    if not isinstance(entry, dict) or entry.keys() != _ENTRY or type(entry["dtype"]) is not str:
        raise FormatError(f"{name}: entry {str(entry)[:100]}")
    shape, offsets, kind = entry["shape"], entry["data_offsets"], entry["dtype"]
    if kind not in _RANK:
        raise FormatError(f"{name}: entry {str(entry)[:100]}")
    if not are_sizes(shape, _FAR) or not are_sizes(offsets, _FAR) or len(offsets) != 2:
        raise FormatError(f"{name}: shape {str(shape)[:100]}, offsets {str(offsets)[:100]}")
    if 0 in shape and max(shape) >= _FAR_BESIDE_NOTHING:
        raise FormatError(f"{name}: shape {shape} of nothing")
    if len(shape) > 3:
        raise FormatError(f"{name}: {len(shape)} dimensions, at most 3")
    (start, end), dtype = offsets, DTYPES[kind]
    # the library forbids holes and overlaps as well: each tensor starts where the last one ended
    if start != position or end > len(body) or end - start != math.prod(shape) * dtype.itemsize:
        raise FormatError(f"{name}: {shape} of {dtype} at {start}:{end}, expected from {position}")
    return Tensor(name, kind, np.ndarray(shape, dtype, body, start))
