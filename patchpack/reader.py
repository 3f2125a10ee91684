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

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from patchpack.cache import Cache
from patchpack.copies import Shared, register, worker
from patchpack.errors import DamageError, StateError
from patchpack.io import IO, default_cache
from patchpack.layout import Pack
from patchpack.loss import LossTokens
from patchpack.members import MEMBERS, PACKS, Members
from patchpack.plan import Plan
from patchpack.position import Position, check_settings, position_of
from patchpack.skips import Skips
from patchpack.sources import check_ranks, open_sources
from patchpack.state import State
from patchpack.stream import Lost, Rules, Share, Stream

if TYPE_CHECKING:
    from torch.utils.data import IterableDataset

    _Iterable = IterableDataset[Pack]
else:
    _Iterable = object


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
        if on_error not in ("raise", "skip") or epoch < 0 or (bundle is not None and bundle < 1):
            what = "on_error is raise or skip, epoch at least 0, bundle at least 1"
            raise ValueError(f"on_error={on_error!r}, epoch={epoch}, bundle={bundle}: {what}")
        self._io = io or IO()
        self._newest = self._sources = open_sources(data, self._io.retry)
        check_ranks(self._newest, rank, world_size)
        self.rank, self.world_size, self.seed = rank, world_size, seed
        self._shuffle, self._check, self._skip = shuffle, check, on_error == "skip"
        self._bundle = bundle or self._newest.bundle
        self._finished = self._loaded = False
        self._turn = object()
        register(type(self))
        self._shared = Shared()
        self._skips = Skips(self._shared)
        self._begin(Position(epoch))

    def _begin(self, position: Position) -> None:
        """Iterations start here."""
        self._position = position
        self._plan = Plan(
            self._sources.datasets,
            self._sources.quotas,
            self.seed,
            position.epoch,
            self._bundle,
            self._shuffle,
        )
        self._shared.begin(position.epoch)
        self._loss: LossTokens | None = None
        self._start = position.start(self.world_size, self._bundle)
        self._next = position.following if position.following >= 0 else self._start

    @property
    def epoch(self) -> int:
        """The epoch that iterations read."""
        return self._position.epoch

    @property
    def steps(self) -> int:
        """Steps of an epoch, on every rank."""
        return self._plan.items // self.world_size

    @property
    def first_step(self) -> int:
        """The step of the epoch that an iteration begins with: 0 unless a state was loaded."""
        return self._start // self._bundle

    @property
    def bundle(self) -> int:
        """Packs of a step of each rank."""
        return self._bundle

    @property
    def versions(self) -> list[int]:
        """The version of each data set that this epoch reads."""
        return self._sources.versions

    @property
    def skipped(self) -> int:
        """Damaged packs that became fillers so far, in this process and in DataLoader workers."""
        return self._shared.skipped

    @property
    def damages(self) -> list[DamageError]:
        """What was skipped in this process, at most the first hundred."""
        return self._skips.damages

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
            self._sources = self._newest
        self._finished = self._loaded = False
        self._begin(Position(epoch))

    def loss_tokens(self, step: int) -> int:
        """Tokens with loss of a step, all ranks and the bundle together: from the index alone, the
        same on every rank. Raises ValueError for a step that is none.
        """
        if not 0 <= step < self.steps:
            raise ValueError(f"step {step} of {self.steps}")
        if self._loss is None:
            had = self._position.items
            self._loss = LossTokens(self._plan, self.world_size, had, self._cache())
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
        number, workers = worker()
        if number >= 0:
            self._shared.iterates()
            if not self._loaded:
                self.set_epoch(self._shared.epoch)
        elif self._finished:
            self.set_epoch(self.epoch + 1)
        position, seen = self._position, 0
        first = position.following if position.following >= 0 else self._start + max(number, 0)
        numbers = range(first, len(self), workers)
        share = Share(self._plan, self.rank, self.world_size, numbers, position.items)
        rules = Rules(*kinds, self._check, self._skip)
        stream = Stream(share, rules, self._io, self._cache())
        notes, skips, skip = stream.notes, self._skips, self._skip
        self._loaded, self._next = False, first
        try:
            for pack in stream.packs():
                if turn is not self._turn:
                    raise RuntimeError("a newer iteration of this reader has begun")
                while notes:
                    skips.note(notes.popleft())
                if type(pack) is Lost:
                    skips.lose(pack.error)
                    pack = pack.filler
                elif skip:
                    skips.end_row()
                seen += 1
                self._next += workers  # before the trainer has it: it may ask for the state now
                yield pack
        finally:
            stream.close()
        while notes:
            skips.note(notes.popleft())
        if seen != len(numbers):
            raise RuntimeError(f"{seen} packs were read of {len(numbers)}: report this as a bug")
        self._finished = True

    def _cache(self) -> Cache | None:
        """Made anew for each use: a worker process has its own, in the same folder."""
        if not self._sources.remote:
            return None
        folder = Path(self._io.cache or default_cache())
        return Cache(folder, self._io.cache_bytes, self._io.retry)

    def state_dict(self, taken: int | None = None) -> dict[str, Any]:
        """Where this rank stands, as JSON may hold it, below 1 KB.

        Counts what this object has handed out. A DataLoader with workers iterates over copies of
        it: pass how many packs were `taken` from the loader since its iteration began.
        """
        number, workers = worker()
        if taken is None and number < 0 and self._shared.copied:
            what = "a DataLoader's workers iterate over copies of this reader, so it does not know"
            raise StateError(f"{what} where they stand: state_dict(taken), with the packs taken")
        now = self._next if taken is None else self._start + taken
        position = self._position
        if number >= 0:
            now = max(now, self._start + number)
        elif now >= len(self):
            position = Position(self.epoch + 1)
        elif now > self._start:
            position = position.after(now, self.world_size, self._bundle)
        return State(
            versions=self.versions,
            digest=self._sources.digest,
            seed=self.seed,
            epoch=position.epoch,
            shuffle=self._shuffle,
            bundle=self._bundle,
            items=position.items,
            packs=position.packs,
            world_size=self.world_size,
            worker=number,
            workers=workers if number >= 0 else 0,
            next=now,
        ).to_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state stands: of this or another number of ranks and workers, or of a
        StatefulDataLoader around a reader. Call it on every rank with the state of any.

        Raises StateError where the state does not fit, and what opening its versions raises.
        """
        told, position = position_of(state, self.world_size)
        check_settings(told, seed=self.seed, shuffle=self._shuffle, bundle=self._bundle)
        self._sources = self._newest
        if position.begun:  # an epoch keeps its versions; one that has not begun takes the newest
            self._sources = self._newest.at(told.versions, told.digest, self._io.retry)
        self._finished = False
        self._begin(position)
        if position.following < 0 and self._start >= len(self):  # over: of a loader that ended
            self._sources = self._newest
            self._begin(Position(position.epoch + 1))
        self._loaded = True
