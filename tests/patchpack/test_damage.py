"""The six damages that tar readers take for the end of a shard, or do not see at all."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from patchpack import IO, DamageError, PackedShards
from patchpack.index import decode_index
from tests.patchpack.packed import Packed, packed

BLOCK = 512
VICTIM = 2  # the pack in its shard that is damaged


@dataclass(frozen=True)
class Place:
    """A pack in a shard."""

    shard: Path
    row: Any
    key: str

    @property
    def offset(self) -> int:
        return int(self.row["offset"])

    @property
    def arrays(self) -> int:
        return int(self.row["arrays_offset"])


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def flip(path: Path, offset: int, bits: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= bits
    path.write_bytes(data)


def zero(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset : offset + BLOCK] = bytes(BLOCK)
    path.write_bytes(data)


Damage = tuple[Callable[[Place], None], Callable[[Place], tuple[str, int]], int]
"""What is done, the member and offset that the error names, and the packs that it costs of 5."""

DAMAGES: dict[str, Damage] = {
    "cut inside a member's data": (
        lambda at: cut(at.shard, at.arrays + 10),
        lambda at: (f"{at.key}.safetensors", at.arrays + 10),
        3,
    ),
    "cut at a member boundary": (
        lambda at: cut(at.shard, at.arrays - BLOCK),
        lambda at: (f"{at.key}.safetensors", at.arrays - BLOCK),
        3,
    ),
    "cut between packs": (
        lambda at: cut(at.shard, at.offset),
        lambda at: (f"{at.key}.json", at.offset),
        3,
    ),
    "cut inside a header": (
        lambda at: cut(at.shard, at.offset + 100),
        lambda at: (f"{at.key}.json", at.offset + 100),
        3,
    ),
    "end of the archive missing": (
        lambda at: cut(at.shard, at.shard.stat().st_size - 2 * BLOCK),
        lambda at: ("", at.shard.stat().st_size),
        0,
    ),
    "a bit of a payload": (
        lambda at: flip(at.shard, at.arrays + 100),
        lambda at: (f"{at.key}.safetensors", at.arrays),
        1,
    ),
    "a bit of the JSON": (
        lambda at: flip(at.shard, int(at.row["header_offset"]) + 20),
        lambda at: (f"{at.key}.json", int(at.row["header_offset"])),
        1,
    ),
    "a bit of a tar header": (
        lambda at: flip(at.shard, at.offset + 3),
        lambda at: (f"{at.key}.json", at.offset),
        1,
    ),
    "a tar header zeroed": (
        lambda at: zero(at.shard, at.arrays - BLOCK),
        lambda at: (f"{at.key}.safetensors", at.arrays - BLOCK),
        1,
    ),
    "a bit of the padding": (
        lambda at: flip(at.shard, at.offset + int(at.row["size"]) - 1),
        lambda at: (f"{at.key}.safetensors", at.arrays + int(at.row["arrays_size"])),
        1,
    ),
}


@pytest.fixture
def made(tmp_path: Path) -> Packed:
    return packed(tmp_path / "data", [5], lanes=2)


def place_in(made: Packed, lane: int = 1) -> Place:
    shard = made.root / made.partitions[0]["shards"][lane]["name"]
    index = decode_index((made.root / ".index" / f"{shard.stem}.npy").read_bytes())
    return Place(shard, index[VICTIM], index[VICTIM]["key"].decode())


def check_raises(reader: PackedShards, place: Place, named: tuple[str, int]) -> None:
    with pytest.raises(DamageError) as caught:
        list(reader)
    error = caught.value
    assert (error.shard, error.member, error.offset) == (place.shard.name, *named)
    for part in (place.shard.name, named[0], str(named[1])):
        assert part in str(error)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("name", DAMAGES)
def test_damage_raises_with_shard_member_and_offset(made: Packed, name: str, threads: int) -> None:
    damage, named, _ = DAMAGES[name]
    place = place_in(made)
    damage(place)
    io = IO(threads=threads)
    # in the order of the data set: a cut is met at the pack that it goes through
    reader = PackedShards(made.root, 1, 2, shuffle=False, io=io)
    check_raises(reader, place, named(place))
    assert len(list(PackedShards(made.root, 0, 2, io=io))) == 5  # the other lane is whole


@pytest.mark.parametrize("name", DAMAGES)
def test_skip_counts_reports_and_keeps_the_number_of_packs(
    made: Packed, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage, named, lost = DAMAGES[name]
    place = place_in(made)
    whole = [pack.header.key for pack in PackedShards(made.root, 1, 2, shuffle=False)]
    damage(place)
    reader = PackedShards(made.root, 1, 2, shuffle=False, on_error="skip")
    packs = list(reader)
    assert [pack.header.key for pack in packs] == whole
    assert reader.skipped == lost
    assert sum(pack.header.filler for pack in packs[VICTIM:4]) == min(lost, 2)
    assert not any(pack.header.filler for pack in packs[:VICTIM])
    first = reader.damages[0]
    assert (first.shard, first.member, first.offset) == (place.shard.name, *named(place))
    assert len(caplog.records) == max(lost, 1)
    assert {pack.header.positions for pack in packs} == {"mrope/max_thw"}


@pytest.fixture
def url(made: Packed) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    handler = partial(Quiet, directory=str(made.root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_of_data_that_is_cached_already_raises_once(
    made: Packed, url: str, tmp_path: Path, name: str
) -> None:
    damage, named, _ = DAMAGES[name]
    io = IO(cache=tmp_path / "cache")
    assert len(list(PackedShards(url, io=io))) == 10
    place = place_in(made)
    sha256 = made.partitions[0]["shards"][1]["sha256"]
    [copy] = (tmp_path / "cache").rglob(f"{sha256}-0-*")
    damage(Place(copy, place.row, place.key))
    named_there = named(Place(copy, place.row, place.key))
    check_raises(PackedShards(url, 1, 2, shuffle=False, io=io), place, named_there)
    # the copy is gone, so that the next run reads the shard itself, which is whole
    assert len(list(PackedShards(url, 1, 2, io=io))) == 5


@pytest.mark.parametrize("name", ["a bit of a payload", "cut between packs"])
def test_damage_at_the_remote_place_raises(
    made: Packed, url: str, tmp_path: Path, name: str
) -> None:
    damage, named, _ = DAMAGES[name]
    place = place_in(made)
    damage(place)
    reader = PackedShards(url, 1, 2, shuffle=False, io=IO(cache=tmp_path / "cache"))
    check_raises(reader, place, named(place))


def test_unchecked_sees_what_it_cannot_decode_or_read_and_nothing_else(made: Packed) -> None:
    place = place_in(made)
    flip(place.shard, place.offset + 3)
    assert len(list(PackedShards(made.root, 1, 2, check=False))) == 5
    cut(place.shard, place.arrays)
    with pytest.raises(DamageError, match="the file ends here"):
        list(PackedShards(made.root, 1, 2, check=False))


def test_a_shard_that_is_gone(made: Packed) -> None:
    place = place_in(made)
    place.shard.unlink()
    with pytest.raises(DamageError, match=f"{place.shard.name}: .*not there"):
        list(PackedShards(made.root, 1, 2))
    reader = PackedShards(made.root, 1, 2, on_error="skip")
    assert all(pack.header.filler for pack in reader)
    assert reader.skipped == 5


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda path: path.unlink(), "not there"),
        (lambda path: cut(path, 300), "index: "),
        (lambda path: flip(path, path.stat().st_size - 200, 255), "npy: at byte 0: key"),
    ],
)
def test_a_damaged_index_raises_with_its_name(
    made: Packed, spoil: Callable[[Path], None], what: str
) -> None:
    path = made.root / ".index" / f"{place_in(made).shard.stem}.npy"
    spoil(path)
    for on_error in ("raise", "skip"):
        reader = PackedShards(made.root, 1, 2, on_error=on_error)
        with pytest.raises(DamageError, match=what) as caught:
            list(reader)
        assert caught.value.shard.startswith(".index/") or caught.value.member


def test_many_damaged_packs_in_a_row_end_a_run_that_skips(tmp_path: Path) -> None:
    made = packed(tmp_path / "data", [120], lanes=1)
    shard = made.root / made.partitions[0]["shards"][0]["name"]
    cut(shard, 0)
    with pytest.raises(DamageError, match="100 packs in a row are damaged"):
        list(PackedShards(made.root, on_error="skip"))
