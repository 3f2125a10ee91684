"""The data sets that a reader reads, one or several with weights, each in one version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from patchpack.dataset import Dataset, open_dataset
from patchpack.errors import StateError
from patchpack.mix import quotas_of
from patchpack.transfer import Retry, is_remote


@dataclass(frozen=True, eq=False)
class Sources:
    """`quotas` are the weights, as `mix` has them."""

    datasets: Sequence[Dataset]
    quotas: tuple[int, ...]

    @property
    def versions(self) -> list[int]:
        """Of each data set."""
        return [dataset.version for dataset in self.datasets]

    @property
    def lanes(self) -> int:
        """What the number of ranks divides."""
        return min(dataset.lanes for dataset in self.datasets)

    @property
    def bundle(self) -> int:
        """Packs of a step of each rank, as the data was packed for. Raises ValueError where that
        were several numbers.
        """
        bundles = {dataset.bundle for dataset in self.datasets}
        if len(bundles) > 1 or 0 in bundles:
            raise ValueError("bundle: the data was packed for several sizes of a bundle: pass one")
        return bundles.pop()

    @property
    def remote(self) -> bool:
        """Whether any is."""
        return any(is_remote(dataset.root) for dataset in self.datasets)

    @property
    def digest(self) -> str:
        """Of all shards and weights."""
        parts = [f"{one.digest} {one.lanes}" for one in self.datasets]
        text = "\n".join([*parts, str(self.quotas)])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def at(self, versions: Sequence[int], digest: str, retry: Retry) -> Sources:
        """The same in these versions. Raises StateError unless they have this digest."""
        if digest == self.digest:
            return self
        if len(versions) != len(self.datasets):
            what = f"of {len(versions)} data sets, the reader has {len(self.datasets)}"
            raise StateError(f"versions: {what}")
        both = zip(self.datasets, versions, strict=True)
        found = Sources(
            [open_dataset(one.root, retry, version) for one, version in both], self.quotas
        )
        if digest != found.digest:
            roots = ", ".join(one.root for one in self.datasets)
            what = f"those of versions {list(versions)} of {roots}, or the weights, are others"
            raise StateError(f"digest: not of these shards: {what}")
        return found


def open_sources(data: str | Path | Mapping[str, float], retry: Retry) -> Sources:
    """The newest version of each, or that whose manifest is named. Raises what `open_dataset` does,
    and ValueError for weights that are none.
    """
    places = {str(data): 1.0} if isinstance(data, str | Path) else dict(data)
    quotas = quotas_of(list(places.values()))
    return Sources([open_dataset(place, retry) for place in places], quotas)


def check_ranks(sources: Sources, rank: int, world_size: int) -> None:
    """Raises ValueError unless so many ranks can share the lanes, and this is one of them."""
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of world size {world_size}")
    if sources.lanes % world_size:
        what = f"does not divide the {sources.lanes} lanes of the data: build it with more lanes,"
        raise ValueError(f"world_size {world_size} {what} or use a power of two up to them")
