"""How good a packing is: against what none can beat, and over the ranks of a step."""

from __future__ import annotations

import numpy as np

from schemas.columns import Ints
from schemas.ragged import Floats


def slowest_over_mean(time: Ints, lanes: int) -> dict[str, float]:
    """Mean over steps of (slowest rank / mean rank) for each number of ranks W = 2, 4 .. lanes.

    `time` is the modelled time of each pack in written order, fillers included: step s of W ranks
    is packs s W .. s W + W - 1. Steps of fillers alone do not count. Rounded to 6 digits.
    """
    figures = {}
    ranks = 2
    while ranks <= lanes:
        steps = time.reshape(-1, ranks)
        mean = steps.mean(axis=1)
        busy = mean > 0
        ratio = steps.max(axis=1)[busy] / mean[busy]
        figures[str(ranks)] = round(float(ratio.mean()), 6) if busy.any() else 1.0
        ranks *= 2
    return figures


def variation(attention: Ints) -> float:
    """Standard deviation / mean of the attention of a pack; `attention` without fillers."""
    mean = float(attention.mean()) if len(attention) else 0.0
    return float(attention.std()) / mean if mean else 0.0


def mixture(pack: Ints, source: Ints, tokens: Ints, packs: int) -> tuple[float, float]:
    """Mean entropy of a pack's tokens over sources / entropy of the whole, and the share of packs
    with more than 99.9 % of their tokens from one source.

    Three int64 columns over the instances. 1.0 and 1.0 where there is one source.
    """
    sources = int(source.max(initial=0)) + 1
    table = np.bincount(pack * sources + source, weights=tokens, minlength=packs * sources)
    table = table.reshape(packs, sources)
    share = table / table.sum(axis=1, keepdims=True)
    whole = table.sum(axis=0) / table.sum()
    most = _entropy(whole[None])[0]
    single = float((share.max(axis=1) > 0.999).mean())
    return (float(_entropy(share).mean() / most) if most > 0 else 1.0), single


def _entropy(shares: Floats) -> Floats:
    logs = np.log(np.where(shares > 0, shares, 1.0))
    entropy: Floats = -(shares * logs).sum(axis=1)
    return entropy
