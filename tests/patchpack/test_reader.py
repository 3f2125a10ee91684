from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch.utils.data

from patchpack import IO, FormatError, PackedShards, StateError, decode
from tests.patchpack.packed import Packed, packed


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    made = packed(tmp_path_factory.mktemp("data") / "a", [70, 3], lanes=4)
    made.add([2])
    made.publish()
    return made


def keys_of(reader: Any, count: int | None = None) -> list[str]:
    return [pack.header.key for pack in islice(reader, count)]


def test_the_global_order_is_the_same_for_every_world_size(made: Packed) -> None:
    whole = keys_of(PackedShards(made.root, seed=3))
    assert sorted(whole) == sorted(made.keys)
    for world_size in (2, 4):
        ranks = [
            keys_of(PackedShards(made.root, rank, world_size, 3)) for rank in range(world_size)
        ]
        assert [key for step in zip(*ranks, strict=True) for key in step] == whole
    assert keys_of(PackedShards(made.root, seed=4)) != whole
    assert keys_of(PackedShards(made.root, seed=3, epoch=1)) != whole


def test_a_rank_opens_its_own_lanes_only(made: Packed) -> None:
    for rank in range(4):
        lanes = {pack.header.lane for pack in PackedShards(made.root, rank, 4, epoch=5)}
        assert len(lanes) == 1


def test_in_order_of_the_data_set_when_not_shuffled(made: Packed) -> None:
    packs = list(PackedShards(made.root, shuffle=False))
    places = [(pack.header.key[:8], pack.header.row, pack.header.lane) for pack in packs]
    assert places == sorted(places, key=lambda place: (place[0] != places[0][0], *place[1:]))


def test_members_are_the_bytes_of_the_packs(made: Packed) -> None:
    packs = keys_of(PackedShards(made.root))
    members = list(PackedShards(made.root).members())
    assert [one.key for one in members] == packs
    assert [decode(one.header, one.arrays).header.key for one in members] == packs


def test_loss_tokens_of_a_step_are_known_on_every_rank(made: Packed) -> None:
    ranks = [PackedShards(made.root, rank, 2, seed=1) for rank in range(2)]
    read = [[sum(pack.header.loss_tokens) for pack in reader] for reader in ranks]
    summed = [sum(step) for step in zip(*read, strict=True)]
    fresh = [PackedShards(made.root, rank, 2, seed=1) for rank in range(2)]
    for reader in fresh:
        assert [reader.loss_tokens(step) for step in range(reader.steps)] == summed
    with pytest.raises(ValueError, match=r"step 150 of 150"):
        fresh[0].loss_tokens(150)


def test_an_epoch_follows_another_and_set_epoch_chooses_one(made: Packed) -> None:
    reader = PackedShards(made.root)
    first, second = keys_of(reader), keys_of(reader)
    assert second == keys_of(PackedShards(made.root, epoch=1))
    reader.set_epoch(0)
    assert keys_of(reader) == first
    assert len(reader) == len(first)


def test_bundles_are_as_the_data_was_packed_or_as_told(tmp_path: Path) -> None:
    made = packed(tmp_path / "a", [4], lanes=2, bundle=2)
    assert PackedShards(made.root).bundle == 2
    assert PackedShards(made.root, bundle=4).steps == 2
    rows = [pack.header.row for pack in PackedShards(made.root)]
    assert [row - rows[i - 1] for i, row in enumerate(rows) if i % 2] == [1] * 4
    reader = PackedShards(made.root, bundle=2)
    expected = [sum(made.loss_tokens[key] for key in keys_of(reader, 4)[i : i + 2]) for i in (0, 2)]
    assert [reader.loss_tokens(step) for step in range(2)] == expected
    with pytest.raises(ValueError, match="bundles of 3 do not divide the 4 rows"):
        PackedShards(made.root, bundle=3)
    made.bundle = 1
    made.add([2])
    made.publish()
    with pytest.raises(ValueError, match="several sizes of a bundle: pass one"):
        PackedShards(made.root)


def test_a_state_inside_a_bundle_goes_on_with_as_many_ranks(tmp_path: Path) -> None:
    made = packed(tmp_path / "a", [8], lanes=2, bundle=4)
    reader = PackedShards(made.root)
    whole = keys_of(PackedShards(made.root))
    assert keys_of(reader, 6) == whole[:6]
    state = reader.state_dict()
    after = PackedShards(made.root)
    after.load_state_dict(state)
    assert keys_of(after) == whole[6:]
    with pytest.raises(StateError, match="inside a bundle on 1 ranks: resume on as many"):
        PackedShards(made.root, 0, 2).load_state_dict(state)


def test_a_step_that_is_not_whole_is_completed_with_fillers(tmp_path: Path) -> None:
    made = packed(tmp_path / "a", [6], lanes=4)
    reader = PackedShards(made.root)
    whole = keys_of(PackedShards(made.root))
    keys_of(reader, 6)
    ranks = [PackedShards(made.root, rank, 4) for rank in range(4)]
    for rank in ranks:
        rank.load_state_dict(reader.state_dict())
    assert (reader.first_step, {rank.first_step for rank in ranks}) == (0, {1})
    assert ranks[0].loss_tokens(1) == sum(made.loss_tokens[key] for key in whole[6:8])
    found = [list(rank) for rank in ranks]
    assert {len(packs) for packs in found} == {5}
    assert [packs[0].header.filler for packs in found] == [True, True, False, False]
    assert found[0][0].header.positions == "mrope/max_thw"
    assert [packs[0].header.key for packs in found] == whole[4:8]


def test_a_state_inside_a_step_that_is_not_whole_repeats_nothing(tmp_path: Path) -> None:
    made = packed(tmp_path / "a", [8], lanes=4, bundle=2)
    whole = keys_of(PackedShards(made.root))
    reader = PackedShards(made.root)
    keys_of(reader, 6)  # three items, of which a step of two ranks has two
    state = reader.state_dict()
    ranks = [PackedShards(made.root, rank, 2) for rank in range(2)]
    for rank in ranks:
        rank.load_state_dict(state)
    first = [list(islice(rank, 1)) for rank in ranks]
    again = [PackedShards(made.root, rank, 2) for rank in range(2)]
    for rank in again:
        rank.load_state_dict(ranks[0].state_dict())
    then = [list(rank) for rank in again]
    assert [packs[0].header.filler for packs in first] == [True, False]
    assert [packs[0].header.filler for packs in then] == [True, False]
    assert [first[1][0].header.key, then[1][0].header.key] == whole[6:8]


def test_an_open_epoch_keeps_its_version_and_the_next_one_takes_the_newest(tmp_path: Path) -> None:
    made = packed(tmp_path / "a", [6], lanes=2)
    old = keys_of(PackedShards(made.root))
    reader = PackedShards(made.root)
    assert keys_of(reader, 5) == old[:5]
    state = reader.state_dict()
    made.add([3])
    made.publish()
    resumed = PackedShards(made.root)
    assert resumed.versions == [2]
    resumed.load_state_dict(state)
    assert resumed.versions == [1]
    assert keys_of(resumed) == old[5:]
    assert len(keys_of(resumed)) == 18
    assert resumed.versions == [2]
    assert len(keys_of(PackedShards(made.root / ".patchpack/manifest-000001.json"))) == 12
    (made.root / ".patchpack/manifest-000001.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"manifest-000001.json: no such version"):
        PackedShards(made.root).load_state_dict(state)


def test_several_data_sets_by_weight_resume_as_one(tmp_path: Path) -> None:
    small = packed(tmp_path / "small", [3], lanes=2)
    large = packed(tmp_path / "large", [30], lanes=4)
    data = {str(small.root): 1, str(large.root): 2}
    whole = keys_of(PackedShards(data))
    assert len(whole) == 3 * 2 + 30 * 4
    ranks = [PackedShards(data, rank, 2) for rank in range(2)]
    halves = [keys_of(rank, 20) for rank in ranks]
    assert [key for step in zip(*halves, strict=True) for key in step] == whole[:40]
    state = json.loads(json.dumps(ranks[1].state_dict()))
    one = PackedShards(data)
    one.load_state_dict(state)
    assert keys_of(one) == whole[40:]
    assert PackedShards(data).loss_tokens(0) == PackedShards(data, 0, 1).loss_tokens(0)
    with pytest.raises(StateError, match="digest: "):
        PackedShards({str(small.root): 1, str(large.root): 3}).load_state_dict(state)
    with pytest.raises(ValueError, match="does not divide the 2 lanes"):
        PackedShards(data, 0, 4)


def test_states_that_do_not_fit_are_refused_by_field(made: Packed) -> None:
    reader = PackedShards(made.root)
    keys_of(reader, 3)
    state = reader.state_dict()
    for change, what in (
        ({"format": 2}, "format: is 2, this reader knows 1"),
        ({"order": 0}, "order: is 0"),
        ({"seed": 5}, "seed: the state has 5, the reader 0"),
        ({"shuffle": False}, "shuffle: "),
        ({"bundle": 2}, "bundle: "),
        ({"items": -1}, "items"),
        ({"items": "3"}, "items: is str, expected int"),
        ({"digest": "0"}, "digest: not of these shards"),
        ({"versions": [1, 2]}, "versions: of 2 data sets, the reader has 1"),
        ({"odd": 1}, "missing or unknown: .'odd'"),
        ({"worker": 0, "workers": 2}, "worker: of worker 0 of 2"),
    ):
        digest = {"digest": "0"} if "versions" in change else {}
        with pytest.raises(StateError, match=what):
            PackedShards(made.root).load_state_dict({**state, **digest, **change})


def test_what_cannot_be_is_said_at_once(made: Packed, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="world_size 3 does not divide the 4 lanes"):
        PackedShards(made.root, 0, 3)
    with pytest.raises(ValueError, match="rank 4 of world size 4"):
        PackedShards(made.root, 4, 4)
    with pytest.raises(FileNotFoundError, match=r"nothing holds no published data set"):
        PackedShards("nothing")
    with pytest.raises(ValueError, match="gs:// is not among"):
        PackedShards("gs://bucket/data")
    with pytest.raises(ValueError, match="prefetch from 1 to 128"):
        IO(prefetch=0)
    for wrong in ({"bundle": 0}, {"epoch": -1}, {"on_error": "ignore"}):
        with pytest.raises(ValueError, match="on_error is raise or skip, epoch at least 0"):
            PackedShards(made.root, **wrong)
    with pytest.raises(ValueError, match="holds no packs"):
        PackedShards(packed(tmp_path / "empty", []).root)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"lanes": 3}, "version, lanes: 2, 3"),
        ({"format": 9}, "format: is 9, this reader knows 1"),
        ({"partitions": [{"name": "p"}]}, "'shards' is missing"),
    ],
)
def test_a_damaged_manifest_names_file_and_field(
    tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    made = packed(tmp_path / "a", [2])
    path = made.publish()
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FormatError, match=f"manifest-000002.json: {what}"):
        PackedShards(made.root)


def test_names_in_a_manifest_never_become_other_paths(tmp_path: Path) -> None:
    made = packed(tmp_path / "a", [2])
    made.partitions[0]["shards"][0]["name"] = "../../secret"
    made.publish()
    with pytest.raises(FormatError, match="name or sha256"):
        PackedShards(made.root)


def test_it_is_a_dataset_to_torch_and_can_be_pickled(made: Packed) -> None:
    reader = PackedShards(made.root)
    assert isinstance(reader, torch.utils.data.IterableDataset)
    again = pickle.loads(pickle.dumps(reader))
    assert keys_of(again) == keys_of(PackedShards(made.root))
    with pytest.raises(TypeError, match="import torch before"):
        reader[0]


def test_only_the_newest_iteration_goes_on(made: Packed) -> None:
    reader = PackedShards(made.root)
    old: Iterator[Any] = iter(reader)
    next(old)
    next(iter(reader))
    with pytest.raises(RuntimeError, match="a newer iteration"):
        next(old)


def test_without_torch_it_iterates_and_imports_none(made: Packed) -> None:
    script = (
        "import sys\n"
        "from patchpack import PackedShards\n"
        f"print(sum(1 for _ in PackedShards({str(made.root)!r})))\n"
        "print(sorted({'torch', 'fsspec', 's3fs', 'PIL', 'ray', 'pyarrow'} & set(sys.modules)))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == [str(len(made.keys)), "[]"]
