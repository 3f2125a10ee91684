"""What the packer is given: n instances with their sizes, in the order in which they are packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from schemas.columns import Ints


@dataclass(frozen=True, kw_only=True)
class Items:
    """Columns over n instances, of whatever whole type is wide enough; `hash` is int64.

    size        [n]     share of a pack: tokens, or units of modelled time; 1 .. capacity
    others      [n, r]  further bounded costs, r >= 1; column 0 is steered, whether bounded or not
    attention   [n]     steered and not bounded
    source      [n]     number of the source, from 0
    kinds       [n]     1 with pictures, 2 with videos, 3 with both, 0 with neither
    hash        [n]     seeded hash of the instance, as the bits of a uint64
    """

    size: Ints
    others: Ints
    attention: Ints
    source: Ints
    kinds: Ints
    hash: Ints

    def __len__(self) -> int:
        return len(self.size)

    def take(self, rows: Ints) -> Items:
        """These rows, in their order."""
        return Items(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[Items]) -> Items:
        """The rows of all of them one after another; at least one."""
        names = [one.name for one in fields(cls)]
        return cls(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})

    def by_hash(self) -> Ints:
        """The order in which they are packed: that of their hashes, whatever order they came in."""
        return by_hash(self.hash)


def by_hash(hashes: Ints) -> Ints:
    """The order of these hashes; of equal ones, which only chance or malice makes, as they lie."""
    unsigned = hashes.view(np.uint64)
    order: Ints = np.argsort(unsigned)  # several times as fast as a stable sort
    ranked = unsigned[order]
    if (ranked[1:] == ranked[:-1]).any():
        order = np.argsort(unsigned, kind="stable")
    return order


@dataclass(frozen=True)
class Room:
    """What a pack holds at most: `capacity` of the size, `others` int64 [r] of the other costs."""

    capacity: int
    others: Ints
    steer_attention: bool = True
    one_kind: bool = False


NO_BOUND = 1 << 62
"""In `Room.others`, of a cost that is not bounded."""
