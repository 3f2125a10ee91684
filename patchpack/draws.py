"""Seeded draws that depend on nothing but a seed and the medium: the same in any order or batch.

SplitMix64 (Steele, Lea and Flood 2014) over seed, medium and the number of the draw.
"""

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def key_of(sha256: str) -> int:
    """The 64 bits of a medium's sha256, given as hex, that its draws start from."""
    return int(sha256[:16], 16)


def uniform(key: Keys, seed: int, draw: int | Ints = 0) -> npt.NDArray[np.float64]:
    """[n] numbers in [0, 1), one a medium; `draw` numbers independent draws of a medium."""
    start = _mix(_wrapped(seed))
    mixed = _mix(_mix(key ^ start) + np.asarray(draw).astype(np.uint64))
    return np.asarray((mixed >> np.uint64(11)) * 2.0**-53, np.float64)


def reseeded(seed: int, number: int) -> int:
    """A seed whose draws have nothing to do with those of `seed` or of another number."""
    return int(_mix(_mix(_wrapped(seed)) + _wrapped(number))[0])


def _wrapped(number: int) -> Keys:
    return np.array([number % 2**64], np.uint64)


def _mix(value: Keys) -> Keys:
    value = value + _GOLDEN
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(value ^ (value >> np.uint64(31)), np.uint64)
