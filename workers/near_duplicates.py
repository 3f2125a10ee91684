"""Near duplicates of pictures: perceptual hashes of 64 bits that differ in few of them.

Samples are taken in order. One whose pictures all lie near pictures of earlier samples that stay is
a duplicate; else its pictures are remembered. Hashes that differ in at most k bits are equal in one
of k + 1 bands of bits, so looking into the k + 1 buckets of a hash misses none.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from schemas.columns import Ints

Hashes = npt.NDArray[np.uint64]

MAX_BITS = 8
"""More bits are more bands of fewer bits each, and fuller buckets to look through."""
NONE = -1


def near_duplicates(hashes: Hashes, starts: Ints, known: Hashes, bits: int) -> tuple[Ints, Ints]:
    """For each sample the place of a picture that its first picture is near to, and the bits in
    which they differ; `NONE` where the sample stays.

    Sample i has the pictures `hashes[starts[i]:starts[i + 1]]`; one without stays. Places count
    through `known`, which are pictures from before, and then through `hashes`. Where several are
    near, which one is told is the same each time.
    """
    everything = np.concatenate([known, hashes]).astype(np.uint64)
    buckets, first = _bands(everything, bits)
    ordered = np.asarray(starts, np.int64)
    found: tuple[Ints, Ints] = _in_order(everything, ordered, len(known), bits, buckets, first)
    return found


def near_known(hashes: Hashes, known: Hashes, bits: int) -> tuple[Ints, Ints]:
    """For each hash the place of one of `known` that it is near to, `NONE` where there is none, and
    the bits in which they differ.
    """
    everything = np.concatenate([known, hashes]).astype(np.uint64)
    buckets, first = _bands(everything, bits)
    found: tuple[Ints, Ints] = _held_against(everything, len(known), bits, buckets, first)
    return found


def _bands(everything: Hashes, bits: int) -> tuple[npt.NDArray[np.uint16], Ints]:
    """The bucket of each hash in each band, and where each bucket begins."""
    if not 0 <= bits <= MAX_BITS:
        raise ValueError(f"bits: from 0 to {MAX_BITS}, not {bits}")
    width = min(64 // (bits + 1), 16)
    shifts = np.arange(bits + 1) * (64 // (bits + 1))
    buckets = [(everything >> np.uint64(shift)) & np.uint64((1 << width) - 1) for shift in shifts]
    # room for everything, so that the hashes of a bucket lie side by side
    ends = [np.cumsum(np.bincount(one.astype(np.int64), minlength=1 << width)) for one in buckets]
    first = np.concatenate([np.zeros((bits + 1, 1), np.int64), np.stack(ends)], axis=1)
    return np.stack(buckets).astype(np.uint16), first


@numba.njit(cache=True)
def _in_order(everything, starts, known, bits, buckets, first):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    bands, count = buckets.shape
    stored = np.empty((bands, count), np.uint64)
    places = np.empty((bands, count), np.int32)
    filled = np.zeros((bands, first.shape[1]), np.int32)
    for place in range(known):
        _remember(everything, place, buckets, first, stored, places, filled)
    samples = len(starts) - 1
    near, differ = np.full(samples, -1, np.int64), np.zeros(samples, np.int64)
    for sample in range(samples):
        start, end = known + starts[sample], known + starts[sample + 1]
        for place in range(start, end):
            match, distance = _near(everything, place, bits, buckets, first, stored, places, filled)
            if match < 0:
                near[sample] = -1
                break
            if place == start:
                near[sample], differ[sample] = match, distance
        if near[sample] < 0:
            for place in range(start, end):
                _remember(everything, place, buckets, first, stored, places, filled)
    return near, differ


@numba.njit(cache=True)
def _held_against(everything, known, bits, buckets, first):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    bands, count = buckets.shape
    stored = np.empty((bands, count), np.uint64)
    places = np.empty((bands, count), np.int32)
    filled = np.zeros((bands, first.shape[1]), np.int32)
    for place in range(known):
        _remember(everything, place, buckets, first, stored, places, filled)
    near, differ = np.full(count - known, -1, np.int64), np.zeros(count - known, np.int64)
    for place in range(known, count):
        match, distance = _near(everything, place, bits, buckets, first, stored, places, filled)
        near[place - known], differ[place - known] = match, distance
    return near, differ


@numba.njit(cache=True)
def _remember(everything, place, buckets, first, stored, places, filled):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for band in range(len(buckets)):
        bucket = buckets[band, place]
        free = first[band, bucket] + filled[band, bucket]
        stored[band, free], places[band, free] = everything[place], place
        filled[band, bucket] += 1


@numba.njit(cache=True)
def _near(everything, place, bits, buckets, first, stored, places, filled):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """A remembered hash within `bits`, and its distance."""
    word = everything[place]
    for band in range(len(buckets)):
        bucket = buckets[band, place]
        start = first[band, bucket]
        for other in range(start, start + filled[band, bucket]):
            differ = _ones(word ^ stored[band, other])
            if differ <= bits:
                return places[band, other], differ
    return -1, 0


@numba.njit(cache=True)
def _ones(word):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + (
        (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))
