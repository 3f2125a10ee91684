"""The plan of an epoch: a sequence of items, each one bundle of packs, and where each one lies.

Items are numbered in canonical order: with W ranks, step s is items sW up to (s + 1) W, and rank r
reads item sW + r. One draw of the mixture gives a run of items, as many as the fewest lanes among
the data sets: an aligned run of lanes of one group. W divides it, so no step has two data sets.

A mixture is one sequence without end, of which an epoch is as many runs as all data sets have
together; each data set goes through epochs of its own at its own pace. A single one has them alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from patchpack.dataset import Dataset
from patchpack.mix import Mixture
from patchpack.order import EpochOrder, Ints, distinct, epoch_order, key_of


@dataclass(frozen=True, slots=True)
class Places:
    """[n] each: where packs lie."""

    dataset: Ints
    stripe: Ints
    lane: Ints
    row: Ints
    """In the stripe set."""


@dataclass(eq=False)
class Plan:
    """One epoch. `bundle` is the number of packs of an item."""

    datasets: Sequence[Dataset]
    quotas: tuple[int, ...]
    seed: int
    epoch: int
    bundle: int
    shuffle: bool
    _orders: dict[tuple[int, int], EpochOrder] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Raises ValueError where the bundle divides no stripe set, or there is nothing to read."""
        for dataset in self.datasets:
            odd = [stripe[0] for stripe in dataset.stripes if stripe[0].rows % self.bundle]
            if odd:
                what = f"bundles of {self.bundle} do not divide the {odd[0].rows} rows of"
                raise ValueError(f"{what} {odd[0].name}")
            if not dataset.stripes:
                raise ValueError(f"{dataset.root} version {dataset.version} holds no packs")
        self.run = min(dataset.lanes for dataset in self.datasets)
        self._groups = [dataset.rows // self.bundle for dataset in self.datasets]
        self._runs = [
            int(groups.sum()) * (dataset.lanes // self.run)
            for groups, dataset in zip(self._groups, self.datasets, strict=True)
        ]
        key = key_of("mix", self.seed, *(dataset.digest for dataset in self.datasets))
        self._mixture = Mixture(key, self.quotas)

    @property
    def items(self) -> int:
        """Items in the epoch, of all ranks."""
        return sum(self._runs) * self.run

    def places(self, items: Ints, inside: Ints) -> Places:
        """Where the packs lie that are numbers `inside` of these items."""
        draws = items // self.run + self.epoch * sum(self._runs)
        which, turn = self._mixture.draws(draws)
        stripe, lane, row = (np.empty_like(items) for _ in range(3))
        for one in distinct(which).tolist():
            chosen = which == one
            own_epoch, run = np.divmod(turn[chosen], self._runs[one])
            place = items[chosen] % self.run
            for epoch in distinct(own_epoch).tolist():
                now = own_epoch == epoch
                there = np.flatnonzero(chosen)[now]
                found = self._located(one, epoch, run[now], place[now])
                stripe[there], lane[there] = found[0], found[1]
                row[there] = found[2] * self.bundle + inside[there]
        return Places(which, stripe, lane, row)

    def _located(self, one: int, epoch: int, run: Ints, place: Ints) -> tuple[Ints, Ints, Ints]:
        """Stripe set, lane and group of places in runs of a data set's own epoch."""
        order = self._order(one, epoch)
        group, number = np.divmod(run, self.datasets[one].lanes // self.run)
        stripe, found = order.places(group)
        return stripe, (number * self.run + place) ^ order.mask, found

    def _order(self, one: int, epoch: int) -> EpochOrder:
        dataset = self.datasets[one]
        if (one, epoch) not in self._orders:
            self._orders[one, epoch] = epoch_order(
                dataset.digest,
                self.seed,
                epoch,
                self._groups[one],
                dataset.lanes,
                bundle=self.bundle,
                shuffle=self.shuffle,
            )
        return self._orders[one, epoch]
