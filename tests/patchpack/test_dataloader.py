"""Under torch's DataLoader, and torchdata's that keeps states."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

from patchpack import IO, DamageError, PackedShards, StateError
from tests.patchpack.packed import Packed, packed
from tests.s3_server import s3_server, use
from tests.workers.storage.faulty_proxy import upload


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return packed(tmp_path_factory.mktemp("data") / "a", [6, 5], lanes=4)


def keys_of(loader: Any, count: int | None = None) -> list[str]:
    return [pack.header.key for pack in islice(loader, count)]


def loader_of(reader: PackedShards, workers: int = 2, **more: Any) -> Any:
    return DataLoader(reader, batch_size=None, num_workers=workers, **more)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_give_the_planned_order(made: Packed, workers: int) -> None:
    for rank in range(2):
        whole = keys_of(PackedShards(made.root, rank, 2))
        assert keys_of(loader_of(PackedShards(made.root, rank, 2), workers)) == whole


@pytest.mark.parametrize("context", ["spawn", "forkserver"])
@pytest.mark.slow
def test_workers_that_are_not_forked(made: Packed, context: str) -> None:
    reader = PackedShards(made.root)
    loader = loader_of(reader, multiprocessing_context=context)
    assert keys_of(loader) == keys_of(PackedShards(made.root))
    with pytest.raises(StateError, match=r"state_dict\(taken\)"):
        reader.state_dict()


def test_a_reader_whose_copies_iterate_does_not_pretend_to_know(made: Packed) -> None:
    reader = PackedShards(made.root)
    assert reader.state_dict()["items"] == 0
    taken = keys_of(loader_of(reader), 7)
    with pytest.raises(StateError, match=r"state_dict\(taken\)"):
        reader.state_dict()
    other = PackedShards(made.root)
    other.load_state_dict(reader.state_dict(len(taken)))
    assert taken + keys_of(loader_of(other, 3)) == keys_of(PackedShards(made.root))


@pytest.mark.parametrize("persistent", [False, True])
def test_set_epoch_reaches_the_workers(made: Packed, persistent: bool) -> None:
    reader = PackedShards(made.root)
    loader = loader_of(reader, persistent_workers=persistent)
    for epoch in (0, 1, 2, 2, 0):
        reader.set_epoch(epoch)
        assert keys_of(loader) == keys_of(PackedShards(made.root, epoch=epoch))


def test_a_worker_tells_of_damage_and_counts_nothing_twice(tmp_path: Path) -> None:
    made = packed(tmp_path / "a", [5], lanes=2)
    shard = made.root / made.partitions[0]["shards"][0]["name"]
    data = bytearray(shard.read_bytes())
    data[1200] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DamageError, match=f"{shard.name}: .*at byte"):
        keys_of(loader_of(PackedShards(made.root)))
    skipping = PackedShards(made.root, on_error="skip")
    for epoch in (1, 2):
        assert len(keys_of(loader_of(skipping))) == 10
        assert skipping.skipped == epoch


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("every", [1, 3])
def test_a_stateful_loader_resumes_itself_and_other_readers(
    made: Packed, workers: int, every: int
) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def loader() -> Any:
        reader = PackedShards(made.root, 1, 2)
        return stateful(reader, batch_size=None, num_workers=workers, snapshot_every_n_steps=every)

    whole = keys_of(PackedShards(made.root, 1, 2))
    first = loader()
    taken = keys_of(first, 5)
    state = json.loads(json.dumps(first.state_dict()))
    second = loader()
    second.load_state_dict(state)
    more = keys_of(second, 4)
    assert taken + more == whole[:9]
    third = loader()
    third.load_state_dict(second.state_dict())
    assert keys_of(third) == whole[9:]
    if not workers:  # then the reader keeps its own state
        return
    for told, count in ((state, 5), (second.state_dict(), 9)):
        other = PackedShards(made.root)
        other.load_state_dict(told)
        assert keys_of(other) == keys_of(PackedShards(made.root))[2 * count :]


def test_a_stateful_loader_that_makes_batches_is_refused(made: Packed) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    loader = stateful(PackedShards(made.root), batch_size=2, num_workers=2, collate_fn=list)
    list(islice(loader, 3))
    with pytest.raises(StateError, match="give it batch_size=None"):
        PackedShards(made.root).load_state_dict(loader.state_dict())


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_of_a_stateful_loader_follow_one_another(made: Packed, workers: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    reader = PackedShards(made.root)
    loader = stateful(reader, batch_size=None, num_workers=workers)
    for epoch in range(3):
        reader.set_epoch(epoch)
        assert keys_of(loader) == keys_of(PackedShards(made.root, epoch=epoch))


def test_the_state_of_a_loader_at_the_end_of_an_epoch_is_the_start_of_the_next(
    made: Packed,
) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    loader = stateful(PackedShards(made.root), batch_size=None, num_workers=2)
    list(loader)
    other = PackedShards(made.root)
    other.load_state_dict(loader.state_dict())
    assert other.epoch == 1
    assert keys_of(other) == keys_of(PackedShards(made.root, epoch=1))


@pytest.fixture
def s3(made: Packed, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3_server() as proxy:
        use(proxy, monkeypatch)
        upload(proxy, "bucket")
        for path in made.root.rglob("*"):
            if path.is_file():
                upload(proxy, f"bucket/{path.relative_to(made.root)}", path.read_bytes())
        yield "s3://bucket"


@pytest.mark.slow
def test_workers_read_s3_after_this_process_did(made: Packed, s3: str, tmp_path: Path) -> None:
    reader = PackedShards(s3, io=IO(cache=tmp_path / "cache"))
    assert reader.loss_tokens(0) == PackedShards(made.root).loss_tokens(0)
    assert keys_of(loader_of(reader)) == keys_of(PackedShards(made.root))
