"""Near duplicates of texts: MinHash signatures of which enough places are equal.

Texts are taken in order; one that is like an earlier one that stays is a duplicate, else it is
remembered. Signatures are cut into bands: those that have no band in common are not compared, and
the bands are so many that of pairs as alike as the threshold hardly one in a thousand has none.
"""

from __future__ import annotations

import numba
import numpy as np

from schemas.columns import Ints
from workers.signals.minhash import PLACES, Signatures

NONE = -1
MIN_LIKENESS = 0.5
_FEW_BANDS_FROM = 0.75
"""Likeness above which sixteen bands of four places do; below it is thirty-two of two."""


def near_texts(signatures: Signatures, known: Signatures, likeness: float) -> tuple[Ints, Ints]:
    """For each text the place of an earlier one that it is like, `NONE` where it stays; and how
    many of the 64 places of their signatures are equal.

    Places count through `known`, which are texts from before, and then through `signatures`.
    """
    if not MIN_LIKENESS <= likeness <= 1.0:
        raise ValueError(f"likeness: from {MIN_LIKENESS} to 1, not {likeness}")
    everything = np.ascontiguousarray(np.concatenate([known, signatures]), np.uint32)
    width = 4 if likeness >= _FEW_BANDS_FROM else 2
    words = everything.view(np.uint64).reshape(len(everything), PLACES // 2)
    buckets = np.empty((PLACES // width, len(everything)), np.int32)
    for band in range(len(buckets)):
        pair = words[:, band * width // 2 : (band + 1) * width // 2]
        mixed = pair[:, 0] if width == 2 else pair[:, 0] * _ODD ^ pair[:, 1]
        buckets[band] = np.unique(mixed, return_inverse=True)[1]
    least = int(np.ceil(likeness * PLACES - 1e-9))
    found: tuple[Ints, Ints] = _in_order(everything, len(known), least, buckets)
    return found


_ODD = np.uint64(0x9E3779B97F4A7C15)


@numba.njit(cache=True)
def _in_order(everything, known, least, buckets):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    bands, count = buckets.shape
    newest = np.full((bands, count), -1, np.int32)  # of each bucket the text remembered last
    before = np.full((bands, count), -1, np.int32)  # and of each text the one before it
    near, equal = np.full(count - known, -1, np.int64), np.zeros(count - known, np.int64)
    for text in range(count):
        if text >= known:
            other, places = _alike(everything, text, least, buckets, newest, before)
            if other >= 0:
                near[text - known], equal[text - known] = other, places
                continue
        for band in range(bands):
            bucket = buckets[band, text]
            before[band, text] = newest[band, bucket]
            newest[band, bucket] = text
    return near, equal


@numba.njit(cache=True)
def _alike(everything, text, least, buckets, newest, before):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """A remembered text with enough equal places, and their number."""
    for band in range(len(buckets)):
        other = newest[band, buckets[band, text]]
        while other >= 0:
            places = 0
            for place in range(everything.shape[1]):
                places += everything[text, place] == everything[other, place]
            if places >= least:
                return other, places
            other = before[band, other]
    return -1, 0
