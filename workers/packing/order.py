"""The order in which packs are written: rows of equal cost for every number of ranks.

Packs are sorted by modelled time and cut into rows of `lanes`, so that the packs that ranks read in
one step cost nearly the same. Each row is a binary tree over its lanes; its halves are exchanged by
a coin at every node, down to pairs. So each aligned run of W packs, for every W that divides
`lanes`, is still a run of neighbours in cost, and no lane has the dear ones. Then rows are
shuffled: the order tells nothing of lengths. The cheapest packs share the last row with fillers.
"""

from __future__ import annotations

import numpy as np

from schemas.columns import Ints


def written_order(time: Ints, lanes: int, seed: int) -> Ints:
    """The place of each pack, int64 [packs]: `row * lanes + lane`, from 0 without a gap.

    `time` is the modelled time of each pack; equal ones keep their order. `lanes` is a power of
    two.
    """
    packs = len(time)
    by_time = np.argsort(-time, kind="stable")
    full = packs // lanes
    draws = np.random.Generator(np.random.Philox(seed))
    lane = np.tile(np.arange(lanes), (full, 1))
    half = lanes // 2
    while half:
        # nodes of this level from left to right; a coin for each exchanges its two halves
        coins = draws.integers(0, 2, (full, lanes // (2 * half)))
        lane ^= np.repeat(coins, 2 * half, axis=1)[np.arange(full)[:, None], lane] * half
        half //= 2
    row = draws.permutation(full)
    place = np.empty(packs, np.int64)
    place[by_time[: full * lanes]] = (row[:, None] * lanes + lane).ravel()
    place[by_time[full * lanes :]] = np.arange(full * lanes, packs)
    return place
