"""What no packing can beat: the fewest packs, and the evenest attention."""

from __future__ import annotations

import numpy as np

from schemas.columns import Ints

MAX_SIZES = 1 << 17
"""Larger capacities are counted in 2**16 units, sizes rounded down: the bound stays a bound."""


def fewest_packs(sizes: Ints, capacity: int) -> int:
    """The larger of ceil(sum / capacity) and the bound L2 of Martello and Toth (1990); every size
    is 0 .. capacity.

    For a threshold k: sizes above capacity - k share a pack with nothing of k or more, other sizes
    above capacity / 2 need a pack each, and what of k .. capacity / 2 finds no room in those needs
    further ones. All k at once, over the histogram of sizes.
    """
    if not len(sizes):
        return 0
    whole = -(-int(sizes.sum()) // capacity)
    if capacity > MAX_SIZES:
        sizes, capacity = sizes * (1 << 16) // capacity, 1 << 16
    count = np.bincount(sizes, minlength=capacity + 1)
    up_to, weight = np.cumsum(count), np.cumsum(count * np.arange(capacity + 1))
    half = capacity // 2
    k = np.arange(half + 1)
    above_half = up_to[capacity] - up_to[half]
    # of sizes above half, the room in those that may share
    sharing = up_to[capacity - k] - up_to[half]
    room = sharing * capacity - (weight[capacity - k] - weight[half])
    small = weight[half] - np.where(k > 0, weight[np.maximum(k - 1, 0)], 0)
    further = np.maximum(0, -(-(small - room) // capacity))
    return max(whole, int((above_half + further).max()))


def least_variation(attention: Ints, packs: int) -> float:
    """Least standard deviation / mean of the attention of a pack, over all ways to make so many.

    The k largest instances lie in at most k packs. So the evenest packs that can be thought of are
    those above a water level alone, and the rest level (`water filling`).
    """
    ordered = np.sort(attention.astype(np.float64))[::-1]
    total = float(ordered.sum())
    if not packs or not total:
        return 0.0
    most = min(packs, len(ordered))
    held = np.concatenate([[0.0], np.cumsum(ordered)])[:most]
    level = (total - held) / (packs - np.arange(most))
    below = np.flatnonzero(ordered[:most] <= level)
    alone = int(below[0]) if len(below) else most - 1
    mean = total / packs
    squares = ((ordered[:alone] - mean) ** 2).sum() + (packs - alone) * (level[alone] - mean) ** 2
    return float(np.sqrt(squares / packs) / mean)
