"""PackedShards: the packs of a data set, each exactly once an epoch, for one rank of a trainer.

    from patchpack import PackedShards

    reader = PackedShards("s3://bucket/data", rank=0, world_size=8, seed=1)
    for epoch in range(3):
        reader.set_epoch(epoch)
        for pack in reader:  # or DataLoader(reader, batch_size=None, num_workers=2)
            ...
            state = reader.state_dict()

- The order is that of `order` and `plan`: the same for every number of ranks that divides the
  lanes, and all ranks have equally many packs, fillers among them.
- A state is one cursor into it. Going on costs a look at one index, for any ranks and workers.
- Threads read ahead in this process. Workers of a DataLoader take packs in turn, so that those come
  in the planned order; they are worth their cost only where packs are decoded to pixels.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

from patchpack.cache import Cache
from patchpack.dataset import Dataset, open_dataset
from patchpack.errors import DamageError, StateError
from patchpack.io import IO, default_cache
from patchpack.layout import Pack
from patchpack.loss import LossTokens
from patchpack.members import MEMBERS, PACKS, Members
from patchpack.mix import quotas_of
from patchpack.plan import Plan
from patchpack.state import State, loader_state, state_of
from patchpack.stream import Rules, Share, Stream, skipped_in_a_row
from patchpack.transfer import is_remote

if TYPE_CHECKING:
    from torch.utils.data import IterableDataset

    _Iterable = IterableDataset[Pack]
else:
    _Iterable = object

T = TypeVar("T")

MOST_SKIPPED = 100
"""Damaged packs in a row after which `on_error="skip"` raises too: that is no odd bit any more."""
_REPORTED = 100
_LOG = logging.getLogger("patchpack")


class PackedShards(_Iterable):
    """See the module. An IterableDataset to torch, if torch was imported before it is made."""

    def __init__(
        self,
        data: str | Path | Mapping[str, float],
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        epoch: int = 0,
        *,
        shuffle: bool = True,
        bundle: int | None = None,
        check: bool = True,
        on_error: Literal["raise", "skip"] = "raise",
        io: IO | None = None,
    ) -> None:
        """`data` is a data set's folder or URL, or the manifest of one of its versions; or several
        of them with their weights. `rank` and `world_size` are those of data parallelism.

        `bundle` packs that follow one another are a step of a rank, by default as many as the data
        set was packed for. `check` holds every byte against the index. With `on_error="skip"` a
        damaged pack becomes a filler, is logged, and counted in `skipped`. Where builds publish
        while ranks start, name a manifest, so that all have the same version.

        Raises ValueError for a world size that does not divide the lanes, FileNotFoundError,
        PermissionError, TransferError, and FormatError for a damaged manifest.
        """
        self._io = io or IO()
        places = {str(data): 1.0} if isinstance(data, str | Path) else dict(data)
        self._quotas = quotas_of(list(places.values()))
        self._newest = [open_dataset(place, self._io.retry) for place in places]
        self._datasets = self._newest
        _check_ranks(self._newest, rank, world_size)
        self.rank, self.world_size, self.seed = rank, world_size, seed
        self._shuffle, self._check, self._skip = shuffle, check, on_error == "skip"
        self._bundle = bundle or _bundle_of(self._newest)
        self._finished = self._loaded = False
        self.skipped = 0
        self.damages: list[DamageError] = []
        """The first hundred that were found and skipped in this process."""
        self._turn = object()
        self._shared: Any = None
        if torch_data := sys.modules.get("torch.utils.data"):
            torch_data.IterableDataset.register(type(self))
            # with the copies of DataLoader workers: our epoch, and whether one of them has begun
            self._shared = sys.modules["torch"].zeros(2, dtype=int).share_memory_()
        self._begin(epoch)

    def _begin(self, epoch: int, items: int = 0, packs: int = 0, following: int = -1) -> None:
        """Iterations start here: after `items` of all ranks and `packs` of this one's next item."""
        self.epoch = epoch
        self._plan = Plan(
            self._datasets, self._quotas, self.seed, epoch, self._bundle, self._shuffle
        )
        if self._shared is not None and _worker()[0] < 0:
            self._shared[0], self._shared[1] = epoch, 0
        self._loss: LossTokens | None = None
        self._items, self._packs, self._following = items, packs, following
        self._next = self._start if following < 0 else following

    @property
    def _start(self) -> int:
        return self._items // self.world_size * self._bundle + self._packs

    @property
    def steps(self) -> int:
        """Steps of an epoch, on every rank."""
        return self._plan.items // self.world_size

    @property
    def bundle(self) -> int:
        """Packs of a step of each rank."""
        return self._bundle

    @property
    def versions(self) -> list[int]:
        """The version of each data set that this epoch reads."""
        return [dataset.version for dataset in self._datasets]

    def __len__(self) -> int:
        """Packs of a whole epoch on this rank."""
        return self.steps * self._bundle

    def __getitem__(self, index: Any) -> NoReturn:
        """What a DataLoader calls that takes this for something else than an IterableDataset."""
        del index
        raise TypeError("packs come in their own order: import torch before making PackedShards")

    def set_epoch(self, epoch: int) -> None:
        """Iterate over this epoch from its start; from where a loaded state stands, if it is of
        this epoch. An epoch that was resumed keeps its version, another has that found at first.
        """
        if self._loaded and epoch == self.epoch:
            return
        if epoch != self.epoch:
            self._datasets = self._newest
        self._finished = self._loaded = False
        self._begin(epoch)

    def loss_tokens(self, step: int) -> int:
        """Tokens with loss of a step, all ranks and the bundle together: from the index alone, the
        same on every rank. Raises ValueError for a step that is none.
        """
        if not 0 <= step < self.steps:
            raise ValueError(f"step {step} of {self.steps}")
        if self._loss is None:
            self._loss = LossTokens(self._plan, self.world_size, self._items, self._cache())
        return self._loss.of(step)

    def __iter__(self) -> Iterator[Pack]:
        """From the start of the epoch, or where a loaded state stands, to the end of the epoch.
        After that the next epoch is set.

        Raises DamageError naming shard, member and offset, and TransferError.
        """
        return self._iterate(PACKS)

    def members(self) -> Iterator[Members]:
        """The same iteration, its packs as the bytes of their members."""
        return self._iterate(MEMBERS)

    def _iterate(self, kinds: tuple[Any, Any]) -> Iterator[Any]:
        turn = self._turn = object()
        worker, workers = _worker()
        if worker >= 0 and self._shared is not None:
            self._shared[1] = 1
            if not self._loaded:
                self.set_epoch(int(self._shared[0]))
        elif self._finished:
            self.set_epoch(self.epoch + 1)
        first = self._following if self._following >= 0 else self._start + max(worker, 0)
        numbers = range(first, len(self), workers)
        share = Share(self._plan, self.rank, self.world_size, numbers, self._items)
        rules = Rules(*kinds, self._check, self._skip)
        stream = Stream(share, rules, self._io, self._cache())
        self._loaded, self._next, seen, in_a_row = False, first, 0, 0
        try:
            for batch in stream.batches():
                if batch.damages:
                    in_a_row = skipped_in_a_row(batch.lost, in_a_row)
                    self._report(batch.damages, sum(batch.lost), in_a_row)
                else:
                    in_a_row = 0
                for pack in batch.packs:
                    if turn is not self._turn:
                        raise RuntimeError("a newer iteration of this reader has begun")
                    seen += 1
                    self._next += workers  # before the trainer has it: it may ask for the state now
                    yield pack
        finally:
            stream.close()
        assert seen == len(numbers), f"{seen} packs seen of {len(numbers)}"
        self._finished = True

    def _report(self, damages: list[DamageError], lost: int, in_a_row: int) -> None:
        for error in damages:
            _LOG.warning("skipped: %s", error)
        self.damages += damages[: _REPORTED - len(self.damages)]
        self.skipped += lost
        if in_a_row >= MOST_SKIPPED:
            error = damages[-1]
            what = f"{in_a_row} packs in a row are damaged, the last: {error}"
            raise DamageError(what, error.shard, error.member, error.offset)

    def _cache(self) -> Cache | None:
        """Made anew for each use: a worker process has its own, in the same folder."""
        if not any(is_remote(dataset.root) for dataset in self._datasets):
            return None
        return Cache(self._io.cache or default_cache(), self._io.cache_bytes, self._io.retry)

    def state_dict(self, taken: int | None = None) -> dict[str, Any]:
        """Where this rank stands, as JSON may hold it, below 1 KB.

        Counts what this object has handed out. A DataLoader with workers iterates over copies of
        it: pass how many packs were `taken` from the loader since its iteration began.
        """
        worker, workers = _worker()
        if taken is None and worker < 0 and self._shared is not None and self._shared[1]:
            what = "a DataLoader's workers iterate over copies of this reader, so it does not know"
            raise StateError(f"{what} where they stand: state_dict(taken), with the packs taken")
        now = self._next if taken is None else self._start + taken
        epoch, items, packs = self.epoch, self._items, self._packs
        if worker < 0:
            if now >= len(self) and (taken is not None or self._finished or now > self._start):
                epoch, now, items, packs = epoch + 1, 0, 0, 0
            if now > self._start or epoch > self.epoch:
                step, packs = divmod(now, self._bundle)
                items = max(items, step * self.world_size)
        return State(
            versions=self.versions,
            digest=self._digest(),
            seed=self.seed,
            epoch=epoch,
            shuffle=self._shuffle,
            bundle=self._bundle,
            items=items,
            packs=packs,
            world_size=self.world_size,
            worker=worker,
            workers=workers if worker >= 0 else 0,
            next=self._next if self._next > self._start else self._start + max(worker, 0),
        ).to_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state stands: of this or another number of ranks and workers, or of a
        StatefulDataLoader around a reader. Call it on every rank with the state of any.

        Raises StateError where the state does not fit, and what opening its versions raises.
        """
        found = loader_state(state)
        told, taken = found if found else (state_of(state), 0)
        worker, workers = _worker()
        if not found and (told.worker, told.workers) != (worker, workers if worker >= 0 else 0):
            what = f"of worker {told.worker} of {told.workers}, this is {worker} of {workers}"
            if told.worker >= 0 or worker < 0:
                raise StateError(f"worker: {what}: load the whole state of the loader instead")
        self._check_settings(told)
        if told.packs and told.world_size != self.world_size:
            what = f"taken inside a bundle on {told.world_size} ranks"
            raise StateError(f"packs: {what}: resume on as many, or take states between bundles")
        self._open_versions(told)
        self._finished = False
        following = told.next if told.worker >= 0 and not found else -1
        self._begin(told.epoch, told.items, told.packs, following)
        if taken:
            self._resume_after(told, taken)
        self._loaded = True

    def _resume_after(self, told: State, taken: int) -> None:
        """Stand after so many more packs of each rank of the loader whose state it is."""
        start = told.items // told.world_size * told.bundle + told.packs
        step, packs = divmod(start + taken, told.bundle)
        if packs and told.world_size != self.world_size:
            raise StateError("taken inside a bundle: resume on as many ranks")
        self._begin(told.epoch, max(told.items, step * told.world_size), packs)

    def _check_settings(self, told: State) -> None:
        for name, ours in (
            ("seed", self.seed),
            ("shuffle", self._shuffle),
            ("bundle", self._bundle),
        ):
            if getattr(told, name) != ours:
                raise StateError(f"{name}: the state has {getattr(told, name)}, the reader {ours}")

    def _open_versions(self, told: State) -> None:
        """An epoch that has begun keeps its versions; one that has not takes the newest."""
        self._datasets = self._newest
        begun = told.items or told.packs or told.worker >= 0
        if not begun or told.digest == self._digest():
            return
        if len(told.versions) != len(self._newest):
            what = f"of {len(told.versions)} data sets, the reader has {len(self._newest)}"
            raise StateError(f"versions: {what}")
        self._datasets = [
            open_dataset(one.root, self._io.retry, version)
            for one, version in zip(self._newest, told.versions, strict=True)
        ]
        if told.digest != self._digest():
            roots = ", ".join(one.root for one in self._newest)
            what = f"those of versions {told.versions} of {roots}, or the weights, are others"
            raise StateError(f"digest: not of these shards: {what}")

    def _digest(self) -> str:
        parts = [f"{one.digest} {one.lanes}" for one in self._datasets]
        text = "\n".join([*parts, str(self._quotas)])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def _check_ranks(datasets: list[Dataset], rank: int, world_size: int) -> None:
    lanes = min(dataset.lanes for dataset in datasets)
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of world size {world_size}")
    if lanes % world_size:
        what = f"does not divide the {lanes} lanes of the data: build it with more lanes, or use"
        raise ValueError(f"world_size {world_size} {what} a power of two up to {lanes}")


def _bundle_of(datasets: list[Dataset]) -> int:
    """As many packs a step as the data was packed for."""
    bundles = {dataset.bundle for dataset in datasets}
    if len(bundles) > 1 or 0 in bundles:
        raise ValueError("bundle: the data was packed for several sizes of a bundle: pass one")
    return bundles.pop()


def _worker() -> tuple[int, int]:
    """Number of this DataLoader worker and how many there are; -1, 1 outside of one."""
    torch_data = sys.modules.get("torch.utils.data")
    info = torch_data.get_worker_info() if torch_data else None
    return (info.id, info.num_workers) if info else (-1, 1)
