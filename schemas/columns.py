"""Arrow columns as the arrays that arithmetic wants."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array; no copy where it is one chunk already."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def offsets(lists: pa.ListArray) -> Ints:
    """Row offsets of a list column, from 0: row i is `flat(lists)[offsets[i]:offsets[i + 1]]`."""
    if not len(lists):
        return np.zeros(1, np.int64)
    bounds: Ints = lists.offsets.to_numpy().astype(np.int64)
    from_zero: Ints = bounds - bounds[0]
    return from_zero


def flat(lists: pa.ListArray) -> pa.Array:
    """The values of a list column one row after another (null rows must be empty)."""
    return lists.flatten()


def lists(values: pa.Array | npt.NDArray[np.int32], counts: Ints) -> pa.ListArray:
    """A list column whose rows are cut from `values` by their lengths."""
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(starts, pa.int32()), pa.array(values))


def is_none(values: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Where a column of objects holds None."""
    return np.array([value is None for value in values.tolist()], np.bool_)
