"""Every pack exactly once, in the planned order, whatever stops and goes on in between."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch.utils.data  # so that readers are datasets to torch

from patchpack import IO, PackedShards
from tests.patchpack.packed import packed

try:
    from torchdata.stateful_dataloader import StatefulDataLoader
except ModuleNotFoundError:  # in an environment that was made before it was pinned
    StatefulDataLoader = None

LANES = 4
EPOCHS = 2


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Data sets by the size of their bundles."""
    folder = tmp_path_factory.mktemp("data")
    found = {bundle: folder / str(bundle) for bundle in (1, 2)}
    for bundle, root in found.items():
        made = packed(root, [6, 4], lanes=LANES, bundle=bundle)
        made.add([8], fillers=3)
        made.publish()
    return found


@dataclass
class Run:
    """A training run that stops and goes on: what each stretch hands out, on all ranks."""

    data: Path | dict[str, float]
    seed: int
    chance: random.Random
    seen: list[list[str]] = field(default_factory=lambda: [[] for _ in range(EPOCHS)])

    def reader(self, rank: int = 0, world_size: int = 1, **more: Any) -> PackedShards:
        threads = self.chance.choice([0, 1, 2, 3])
        io = IO(threads=threads, prefetch=self.chance.choice([1, 2, 7, 16, 64]))
        return PackedShards(self.data, rank, world_size, self.seed, io=io, **more)

    def stretch(self, state: dict[str, Any] | None, bundle: int) -> dict[str, Any]:
        """Some steps on some ranks, from a state to the next."""
        world_size = self.chance.choice([1, 2, 4])
        steps = self.chance.randrange(0, 30 // world_size)
        kind = self.chance.choice(["plain", "plain", "workers", "stateful"])
        workers = self.chance.choice([1, 2, 3]) if kind != "plain" else 0
        states, ranks, epochs = [], [], []
        for rank in range(world_size):
            reader = self.reader(rank, world_size)
            if state:
                reader.load_state_dict(json.loads(json.dumps(state)))
            epochs.append(reader.epoch)
            found, after = hand_out(reader, kind, workers, steps * bundle)
            assert len(json.dumps(after)) < 1024 or kind == "stateful"
            states.append(after)
            ranks.append(found)
        assert len(set(epochs)) == 1
        if epochs[0] < EPOCHS:
            had = len(self.seen[epochs[0]]) // bundle
            self.seen[epochs[0]] += merged(ranks, bundle, had)
        # any rank's state does for all
        return self.chance.choice(states)


def hand_out(
    reader: PackedShards, kind: str, workers: int, packs: int
) -> tuple[list[str], dict[str, Any]]:
    """Keys of so many packs, and the state after them."""
    loader: Any = reader
    if kind == "workers" or (kind == "stateful" and StatefulDataLoader is None):
        loader = torch.utils.data.DataLoader(reader, batch_size=None, num_workers=workers)
    elif kind == "stateful":
        loader = StatefulDataLoader(reader, batch_size=None, num_workers=workers)
    taken = [pack.header.key for pack in islice(loader, packs)]
    if loader is reader:
        return taken, reader.state_dict()
    if kind == "stateful" and StatefulDataLoader is not None and taken:
        return taken, loader.state_dict()
    return taken, reader.state_dict(len(taken))


def merged(ranks: list[list[str]], bundle: int, had: int) -> list[str]:
    """The canonical order of what ranks read side by side; `had` items were handed out before, for
    which those of the first step have fillers.
    """
    assert len({len(rank) for rank in ranks}) == 1
    keys: list[str] = []
    item = had // len(ranks) * len(ranks)
    for first in range(0, len(ranks[0]), bundle):
        for rank in ranks:
            keys += rank[first : first + bundle] if item >= had else []
            item += 1
    return keys


def check_run(data: Path | dict[str, float], bundle: int, seed: int) -> None:
    run = Run(data, seed, random.Random(seed))
    planned = [[pack.header.key for pack in run.reader(epoch=epoch)] for epoch in range(EPOCHS)]
    if isinstance(data, Path):
        assert sorted(planned[0]) == sorted(planned[1])
        assert len(set(planned[0])) == len(planned[0])
    assert planned[0] != planned[1]
    state: dict[str, Any] | None = None
    while len(run.seen[-1]) < len(planned[-1]):
        state = run.stretch(state, bundle)
    assert run.seen == planned


@pytest.mark.parametrize("seed", range(20))
def test_packs_seen_equal_the_plan_in_its_order(roots: dict[int, Path], seed: int) -> None:
    bundle = 1 + seed % 2
    check_run(roots[bundle], bundle, seed)


@pytest.mark.parametrize("seed", range(4))
def test_of_several_data_sets_too(roots: dict[int, Path], tmp_path: Path, seed: int) -> None:
    small = packed(tmp_path / "small", [2], lanes=8, bundle=2)
    check_run({str(roots[2]): 2, str(small.root): 1}, 2, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 220))
def test_packs_seen_equal_the_plan_for_many_seeds(roots: dict[int, Path], seed: int) -> None:
    bundle = 1 + seed % 2
    check_run(roots[bundle], bundle, seed)
