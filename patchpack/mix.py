"""Which data set comes next where several are mixed by weight.

Draws come in blocks of 4,096. Each block has the same number of draws of a data set, its weight in
4,096ths, in an order permuted by seed and block. So a mixture keeps to its weights everywhere, and
how often a data set was drawn before any point is known without counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from patchpack.order import Ints, Key, distinct, permutation

BLOCK = 4096


def quotas_of(weights: Sequence[float]) -> tuple[int, ...]:
    """Draws of each data set in a block, at least 1 each, together 4,096.

    Raises ValueError for a weight that is not above 0.
    """
    if not weights or len(weights) > BLOCK or not all(0 < weight < 1e300 for weight in weights):
        raise ValueError(f"weights {list(weights)!r:.200}: expected numbers above 0")
    shares = [Fraction(weight) for weight in weights]
    exact = [share * BLOCK / sum(shares) for share in shares]
    quotas = [max(1, int(one)) for one in exact]
    by_need = sorted(range(len(exact)), key=lambda i: (quotas[i] - exact[i], i))
    while sum(quotas) < BLOCK:
        for i in by_need[: BLOCK - sum(quotas)]:
            quotas[i] += 1
    while sum(quotas) > BLOCK:  # some were raised to 1: the largest pays for them
        quotas[quotas.index(max(quotas))] -= 1
    return tuple(quotas)


@dataclass(frozen=True)
class Mixture:
    """A sequence of draws without end."""

    key: Key
    quotas: tuple[int, ...]

    def draws(self, numbers: Ints) -> tuple[Ints, Ints]:
        """Of the draws with these numbers: the data set, and how often it was drawn before."""
        if len(self.quotas) == 1:
            return np.zeros_like(numbers), numbers
        block, inside = numbers // BLOCK, numbers % BLOCK
        which, before = np.empty_like(numbers), np.empty_like(numbers)
        for one in distinct(block).tolist():
            chosen = block == one
            drawn, earlier = _block_of(self, one)
            which[chosen] = drawn[inside[chosen]]
            before[chosen] = earlier[inside[chosen]]
        return which, block * np.array(self.quotas)[which] + before


@lru_cache(maxsize=8)
def _block_of(mixture: Mixture, block: int) -> tuple[Ints, Ints]:
    """[4096] the data set of each draw, and its draws before that one in the block."""
    quotas = np.array(mixture.quotas)
    sorted_sets = np.repeat(np.arange(len(quotas)), quotas)
    drawn = sorted_sets[permutation(mixture.key, (block, 0), BLOCK)]
    earlier = np.empty(BLOCK, np.int64)
    places = np.argsort(drawn, kind="stable")
    earlier[places] = np.arange(BLOCK) - np.repeat(np.cumsum(quotas) - quotas, quotas)
    return drawn, earlier
