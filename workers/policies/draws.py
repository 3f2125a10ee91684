"""What a policy draws for a medium, from its own seed and the medium's key alone."""

import numpy as np

from patchpack.draws import Keys, uniform
from schemas.sized import Floats

__all__ = ["Keys", "beta", "uniform"]


def beta(key: Keys, seed: int, shape: tuple[int, int], first: int = 0) -> Floats:
    """[n] numbers in [0, 1) of a Beta distribution with whole parameters (a, b).

    The a-th smallest of a + b - 1 uniform numbers, which are the draws from `first` on: exact
    comparisons in place of a library's logarithms, so the same on every machine.
    """
    a, b = shape
    drawn = np.stack([uniform(key, seed, first + number) for number in range(a + b - 1)])
    return np.asarray(np.sort(drawn, axis=0)[a - 1], np.float64)
