"""Tokens with loss of a step over all ranks, from the indexes: no rank has to ask another one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from patchpack.cache import Cache
from patchpack.indexes import Indexes
from patchpack.plan import Plan


@dataclass(eq=False)
class LossTokens:
    """`had` are items handed out before, which fillers stand for."""

    plan: Plan
    world_size: int
    had: int
    cache: Cache | None

    def __post_init__(self) -> None:
        lanes = sum(dataset.lanes for dataset in self.plan.datasets)
        self._indexes = Indexes(self.cache, lanes)

    def of(self, step: int) -> int:
        """The sum over the packs of all ranks. Raises DamageError for a damaged index."""
        first = step * self.world_size
        items = np.arange(max(first, self.had), first + self.world_size)
        if not len(items):
            return 0
        bundle = self.plan.bundle
        places = self.plan.places(np.repeat(items, bundle), np.tile(np.arange(bundle), len(items)))
        columns = zip(
            *(getattr(places, name).tolist() for name in ("dataset", "stripe", "lane")), strict=True
        )
        datasets = self.plan.datasets
        pairs = [(datasets[d], datasets[d].stripes[s][lane]) for d, s, lane in columns]
        found = self._indexes.of(pairs)
        rows = places.row.tolist()
        return sum(int(one.loss_tokens[row]) for one, row in zip(found, rows, strict=True))
