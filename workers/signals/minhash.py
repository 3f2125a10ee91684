"""MinHash signatures of texts, by datasketch: the share of equal places estimates how many of their
word sequences two texts have in common (Jaccard similarity).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.libraries import version

VERSION = 1

PLACES = 64
"""Numbers of 32 bits in a signature."""
_WORDS = 5
"""In a sequence; a shorter text is one by itself."""
_SEED = 1

Signatures = npt.NDArray[np.uint32]
"""[texts, PLACES]"""


def signature(words: Sequence[str]) -> bytes | None:
    """Of the words of a text, as little-endian numbers; None without words."""
    if not words:
        return None
    last = max(1, len(words) - _WORDS + 1)
    runs = dict.fromkeys(" ".join(words[start : start + _WORDS]) for start in range(last))
    made = _empty().copy()
    made.update_batch([one.encode() for one in runs])
    return np.asarray(made.hashvalues).astype("<u4").tobytes()


def minhash_spec() -> list[object]:
    """What shapes a signature."""
    return [VERSION, version("datasketch")]


@cache
def _empty() -> Any:
    from datasketch import MinHash  # scipy: a second

    return MinHash(num_perm=PLACES, seed=_SEED)
