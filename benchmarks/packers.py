"""Three published ways to pack, on lengths alone, written from their descriptions.

- `best_fit_decreasing`: TRL's `bfd` over the whole data set (huggingface/trl `pack_dataset`).
- `knapsack`: a window of samples at a time, of which the longest that still fits goes into the pack
  (NVIDIA/Megatron-LM `greedy_knapsack` behind Megatron-Energon's packing buffer).
- `buffer`: packs that stay open, the fullest in pictures first; a sample joins the first that has
  room, and the oldest leaves when too many are open (OpenGVLab/InternVL `PackedDataset`).
"""

from __future__ import annotations

from bisect import bisect_right

import numba
import numpy as np

from schemas.columns import Ints

WINDOW = 10_000
OPEN = 20


def best_fit_decreasing(lengths: Ints, capacity: int) -> Ints:
    """[n] pack of each length, packs as they open."""
    order = np.argsort(-lengths, kind="stable")
    number = np.empty(len(lengths), np.int64)
    number[order] = _best_fit(lengths[order], capacity)
    return number


@numba.njit(cache=True)
def _best_fit(lengths: Ints, capacity: int) -> Ints:  # pragma: no cover - compiled
    leaves = 1
    while leaves < capacity + 1:
        leaves *= 2
    there = np.zeros(2 * leaves, np.int64)  # packs with a room below each node of a tree over rooms
    top = np.full(capacity + 1, -1, np.int64)  # of the packs with this room, the last
    below = np.full(len(lengths), -1, np.int64)
    number = np.empty(len(lengths), np.int64)
    packs = 0
    for one in range(len(lengths)):
        node = leaves + lengths[one]
        while node > 1 and not there[node]:  # up to the first subtree on the right that has any
            while node % 2:
                node //= 2
            node = node + 1 if node else 0
        while 0 < node < leaves:
            node = 2 * node if there[2 * node] else 2 * node + 1
        if node <= 1:
            pack, room = packs, capacity
            packs += 1
        else:
            room = node - leaves
            pack = top[room]
            top[room] = below[pack]
            _add(there, node, -1)
        number[one] = pack
        room -= lengths[one]
        below[pack], top[room] = top[room], pack
        _add(there, leaves + room, 1)
    return number


@numba.njit(cache=True)
def _add(tree: Ints, node: int, change: int) -> None:  # pragma: no cover - compiled
    while node:
        tree[node] += change
        node //= 2


def knapsack(lengths: Ints, capacity: int) -> Ints:
    """[n] pack of each length, window by window."""
    number = np.empty(len(lengths), np.int64)
    packs = 0
    for start in range(0, len(lengths), WINDOW):
        window = lengths[start : start + WINDOW]
        order = np.argsort(window, kind="stable").tolist()
        sizes = window[order].tolist()
        while sizes:
            room = capacity
            while at := bisect_right(sizes, room):
                room -= sizes.pop(at - 1)
                number[start + order.pop(at - 1)] = packs
            packs += 1
    return number


def buffer(lengths: Ints, pictures: Ints, capacity: int) -> Ints:
    """[n] pack of each length, packs as they leave the buffer."""
    opened: list[tuple[int, int, list[int]]] = []  # pictures, tokens, samples
    number = np.empty(len(lengths), np.int64)
    packs = 0
    for one, (length, shown) in enumerate(zip(lengths.tolist(), pictures.tolist(), strict=True)):
        found = (0, 0, [one])
        for at, (_, tokens, _) in enumerate(opened):
            if tokens + length <= capacity:
                found = opened.pop(at)
                found[2].append(one)
                break
        found = (found[0] + shown, found[1] + length, found[2])
        if found[1] < capacity:
            at = 0
            while at < len(opened) and opened[at][0] >= found[0]:
                at += 1
            opened.insert(at, found)
            if len(opened) <= OPEN:
                continue
            found = opened.pop(0)
        number[found[2]] = packs
        packs += 1
    for _, _, samples in opened:
        number[samples] = packs
        packs += 1
    return number
