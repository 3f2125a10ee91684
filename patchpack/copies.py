"""A reader and its copies: the workers of a DataLoader each iterate over one of their own.

They share a few numbers in memory: the epoch, so that `set_epoch` reaches workers that live on;
whether a copy has begun, as the reader cannot know then where it stands; what each has skipped.
Without torch there are no copies, and nothing is shared.
"""

from __future__ import annotations

import sys
from typing import Any

_WORKERS = 256  # more have to share places


def worker() -> tuple[int, int]:
    """Number of this DataLoader worker and how many there are; -1, 1 outside of one."""
    torch_data = sys.modules.get("torch.utils.data")
    info = torch_data.get_worker_info() if torch_data else None
    return (info.id, info.num_workers) if info else (-1, 1)


def register(reader: type) -> None:
    """Make it an IterableDataset to torch, where torch is imported."""
    if torch_data := sys.modules.get("torch.utils.data"):
        torch_data.IterableDataset.register(reader)


class Shared:
    """The numbers; travels to workers of any start method."""

    def __init__(self) -> None:
        self._numbers: Any = [0] * (2 + _WORKERS)
        if "torch.utils.data" in sys.modules:
            self._numbers = sys.modules["torch"].zeros(2 + _WORKERS, dtype=int).share_memory_()

    def begin(self, epoch: int) -> None:
        """The reader stands at the start of its iterations; says so unless it is a copy."""
        if worker()[0] < 0:
            self._numbers[0], self._numbers[1] = epoch, 0

    @property
    def epoch(self) -> int:
        """Of the reader, for its copies."""
        return int(self._numbers[0])

    @property
    def copied(self) -> bool:
        """Whether a copy has iterated since the reader began."""
        return bool(self._numbers[1])

    def iterates(self) -> None:
        """Called by a copy."""
        self._numbers[1] = 1

    def skip(self) -> None:
        """Count a skipped pack."""
        self._numbers[2 + max(worker()[0], 0) % _WORKERS] += 1

    @property
    def skipped(self) -> int:
        """Of all."""
        return int(sum(self._numbers[2:]))
