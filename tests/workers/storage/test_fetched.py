"""Pieces of remote files on local disk: copied whole, or only what a shard takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from schemas.errors import BuildError
from tests.workers.storage.big_object import BIG
from tests.workers.storage.faulty_proxy import FaultyProxy
from workers.fetched import Fetched, File, Sources, Span, worth_copying
from workers.storage.entries import Stat
from workers.storage.s3 import S3Folder
from workers.storage.staging import Staging

MIB = 1 << 20
BIN = File("", "c.bin")
LOOSE = File("photos", "1.jpg")


def copied(*shards: dict[File, list[Span]], size: int = 64 * MIB, budget: int = 1 << 30) -> bool:
    """Whether a file of this size is copied whole for shards that take so much of it."""
    return BIN in worth_copying(shards, lambda _: Stat(size, "v"), budget)


def every(step: int, size: int, first: int = 0, end: int = 64 * MIB) -> list[Span]:
    return [Span(offset, size) for offset in range(first, end, step)]


def test_a_file_that_many_shards_take_is_copied() -> None:
    shards = [{BIN: every(4 * MIB, 100_000, first * MIB)} for first in range(4)]
    assert copied(*shards)
    assert not copied(*shards, budget=63 * MIB)
    assert not copied(shards[0])
    assert not copied({BIN: [Span(0, 1000)]}, {BIN: [Span(MIB, 1000)]})
    assert copied({BIN: [Span(0, 1000)]}, {BIN: [Span(0, 1000)]}, size=1000)


def test_what_is_gone_is_not_copied() -> None:
    shard: dict[File, Sequence[Span]] = {BIN: [Span(0, 1000)]}
    assert worth_copying([shard, shard], lambda _: None, 1 << 30) == {}


def fetched(s3: S3Folder, folder: Path, staged: dict[File, Stat]) -> Fetched:
    (folder / "draft").mkdir(exist_ok=True)
    sources = Sources({"": s3, "photos": s3}, staged)
    return Fetched(sources, Staging(folder / "staged", 1 << 30), folder / "draft")


def test_ranges_are_gathered_in_few_requests(
    big: S3Folder, proxy: FaultyProxy, tmp_path: Path
) -> None:
    wanted = {File("", "big"): every(400_000, 20_000, 7, len(BIG) - 20_000)}
    read = fetched(big, tmp_path, {})
    read.gather(wanted)
    assert proxy.requests == {"GET": proxy.requests["GET"]}
    assert proxy.requests["GET"] <= 1.2 * proxy.body_bytes["GET"] / (8 * MIB)
    for file, spans in wanted.items():
        for span in [*spans, *spans[::-7]]:
            assert bytes(read(file, span)) == BIG[span.offset : span.offset + span.size]


def test_what_lies_far_apart_is_read_alone(
    big: S3Folder, proxy: FaultyProxy, tmp_path: Path
) -> None:
    spans = every(10 * MIB, 1000, 3, len(BIG) - 1000)
    read = fetched(big, tmp_path, {})
    read.gather({File("", "big"): [*spans, *spans]})
    assert proxy.body_bytes["GET"] == 1000 * len(spans)
    assert bytes(read(File("", "big"), spans[2])) == BIG[spans[2].offset :][:1000]


def test_a_file_to_be_copied_is_copied_once(
    big: S3Folder, proxy: FaultyProxy, tmp_path: Path
) -> None:
    file = File("", "big")
    found = big.stat("big")
    assert found
    proxy.reset()
    for first in (5, 50_000_000):
        read = fetched(big, tmp_path, {file: found})
        read.gather({file: [Span(first, 10)]})
        assert bytes(read(file, Span(first, 10))) == BIG[first : first + 10]
    assert proxy.requests == {"GET": 7}
    assert proxy.body_bytes["GET"] == len(BIG)


def test_nothing_wanted_is_nothing_read(s3: S3Folder, proxy: FaultyProxy, tmp_path: Path) -> None:
    fetched(s3, tmp_path, {}).gather({})
    assert proxy.requests == {}


def test_a_file_that_is_not_as_it_was_is_an_error(s3: S3Folder, tmp_path: Path) -> None:
    s3.write_whole("c.bin", b"x" * 100)
    s3.write_whole("1.jpg", b"x" * 100)
    found = s3.stat("c.bin")
    assert found
    read = fetched(s3, tmp_path, {})
    with pytest.raises(BuildError, match=r"1\.jpg: it ends within bytes 90\+20; the file changed"):
        read.gather({LOOSE: [Span(90, 20)]})
    with pytest.raises(BuildError, match=r"c\.bin of the cache is cut short; delete it"):
        read.gather({BIN: [Span(90, 20)]})
    s3.delete("1.jpg")
    with pytest.raises(BuildError, match=r"^s3:.*1\.jpg: No such file or directory; the file cha"):
        read.gather({LOOSE: [Span(0, 100)]})
    s3.write_whole("c.bin", b"y" * 100)
    with pytest.raises(BuildError, match=r"^s3://.*c\.bin changed while the build read it"):
        fetched(s3, tmp_path, {BIN: found})(BIN, Span(0, 10))
