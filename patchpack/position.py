"""Where iterations of a reader start: in the canonical order, for any number of ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from patchpack.copies import worker
from patchpack.errors import StateError
from patchpack.state import State, state_of


@dataclass(frozen=True, slots=True)
class Position:
    """After `items` of all ranks, and `packs` that each rank has had of its next item."""

    epoch: int
    items: int = 0
    packs: int = 0
    following: int = -1
    """Of a DataLoader's worker that goes on: the pack of its rank that it reads next."""

    @property
    def begun(self) -> bool:
        """Whether anything of the epoch may have been handed out."""
        return self.items > 0 or self.packs > 0 or self.following >= 0

    def start(self, world_size: int, bundle: int) -> int:
        """The first pack of a rank, counted over its epoch; where `items` does not end a step, this
        is in that step, and some ranks have fillers there.
        """
        return self.items // world_size * bundle + self.packs

    def after(self, packs: int, world_size: int, bundle: int) -> Position:
        """Where it stands when each rank has had so many packs of the epoch."""
        step, inside = divmod(packs, bundle)
        return Position(self.epoch, max(self.items, step * world_size), inside)


def position_of(value: dict[str, Any], world_size: int) -> tuple[State, Position]:
    """A state, and where it stands for so many ranks. Raises StateError where it cannot."""
    if isinstance(value, dict) and "_snapshot" in value:
        told, position = _of_loader(value["_snapshot"], value)
    else:
        told = state_of(value)
        number, workers = worker()
        ours = (number, workers if number >= 0 else 0)
        if told.worker >= 0 and (told.worker, told.workers) != ours:
            what = f"of worker {told.worker} of {told.workers} of a DataLoader"
            raise StateError(f"worker: {what}: load the state of the whole loader")
        following = told.next if told.worker >= 0 else -1
        position = Position(told.epoch, told.items, told.packs, following)
    if position.packs and told.world_size != world_size:
        what = f"taken inside a bundle on {told.world_size} ranks"
        raise StateError(f"packs: {what}: resume on as many, or take states between bundles")
    return told, position


def check_settings(told: State, *, seed: int, shuffle: bool, bundle: int) -> None:
    """Raises StateError naming a setting that makes another order."""
    for name, ours in (("seed", seed), ("shuffle", shuffle), ("bundle", bundle)):
        if getattr(told, name) != ours:
            raise StateError(f"{name}: the state has {getattr(told, name)}, the reader {ours}")


def _of_loader(snapshot: dict[str, Any], value: dict[str, Any]) -> tuple[State, Position]:
    """Of a state of torchdata's StatefulDataLoader, whose workers tell how far each has come."""
    try:
        workers = [state_of(one["dataset_state"]) for one in snapshot["_worker_snapshots"].values()]
        told, steps = workers[0], int(snapshot["_snapshot_step"])
        since = int(value["_steps_since_snapshot"])
    except (KeyError, TypeError, IndexError, AttributeError):
        raise StateError("not a state of a StatefulDataLoader around a reader") from None
    begun = Position(told.epoch, told.items, told.packs)
    start = begun.start(told.world_size, told.bundle)
    had = sum((one.next - start - one.worker) // max(one.workers, 1) for one in workers)
    if had != steps:
        raise StateError("of a loader that made batches: give it batch_size=None")
    return told, begun.after(start + had + since, told.world_size, told.bundle)
