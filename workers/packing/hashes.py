"""A seeded 64-bit hash of every instance: the same wherever and in whatever order it is met."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.columns import Ints

Words = npt.NDArray[np.uint64]

_GOLDEN = 0x9E3779B97F4A7C15


def instance_hashes(sample_ids: pa.StringArray, sample: Ints, copy: Ints, seed: int) -> Ints:
    """[n] for copy `copy[i]` of sample `sample[i]`, as the bits of a uint64.

    FNV-1a over the bytes of the id, then the finaliser of splitmix64 over that, the copy and the
    seed.
    """
    if not len(sample):
        return np.zeros(0, np.int64)
    _, places, content = sample_ids.buffers()
    data = np.frombuffer(content or b"", np.uint8)
    bounds = np.frombuffer(places, np.int32)[sample_ids.offset :][: len(sample_ids) + 1]
    of_ids = _fnv(data, bounds)
    salt = np.uint64(seed * _GOLDEN % 2**64)
    steps = copy.astype(np.uint64) * np.uint64(_GOLDEN)
    return mixed((of_ids[sample] ^ salt) + steps).view(np.int64)


@numba.njit(cache=True)
def _fnv(
    data: npt.NDArray[np.uint8], bounds: npt.NDArray[np.int32]
) -> Words:  # pragma: no cover - compiled
    hashes = np.empty(len(bounds) - 1, np.uint64)
    for row in range(len(hashes)):
        value = np.uint64(0xCBF29CE484222325)
        for at in range(bounds[row], bounds[row + 1]):
            value = (value ^ np.uint64(data[at])) * np.uint64(0x100000001B3)
        hashes[row] = value
    return hashes


def mixed(value: Words) -> Words:
    """The finaliser of splitmix64; `value` is written over."""
    value ^= value >> np.uint64(30)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(27)
    value *= np.uint64(0x94D049BB133111EB)
    value ^= value >> np.uint64(31)
    return value
