"""What growth costs, counted from what a build writes and does; and a split that versions keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

import pipelines.assemble
import workers.cameras
import workers.item_pictures
import workers.payloads
from pipelines.assemble import stripe_sets
from pipelines.build import Built
from pipelines.engine import NoWork
from pipelines.verify import verify
from schemas.manifest import Manifest
from tests.pipelines.conftest import packs_of, written
from tests.pipelines.feed import DATE, Feed, contents, entries, names, on_disk, sample_ids
from tests.pipelines.test_scenes import SCENE, scene, view
from tests.tiny_source import Record, asked, encoded, film, ledger_rows, picture
from workers.select import is_held_out

FILES = 100
BLOCKS_AND_SHARDS = ("surveyed.arrow", "tokenized.arrow", "rendered.bin", "out.tar")


def grown(
    feed: Feed, path: Callable[[int], str], samples: int
) -> tuple[Counter[str], Counter[str], Manifest]:
    """What a build of a hundred files wrote, and one of a hundred and one; the latter's manifest.

    Every old shard is the same file, and named by the new version too.
    """
    for number in range(FILES):
        feed.write(path(number), names(f"f{number}", samples))
    full, wrote = written(feed.folder, feed.build)
    files = on_disk(feed.out, full.manifest.shards)
    feed.write(path(FILES), names("new", samples))
    after, more = written(feed.folder, feed.build)
    assert on_disk(feed.out, after.manifest.shards).items() > files.items()
    assert after.manifest.partitions[:-1] == full.manifest.partitions
    assert verify(feed.out).problems == []
    assert not feed.build(NoWork()).new
    return wrote, more, after.manifest


@pytest.mark.slow
def test_a_hundredth_more_files_cost_a_hundredth_of_the_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # shards of two packs: as many stripe sets as a data set of some size has
    monkeypatch.setattr(pipelines.assemble, "MB", 3000)
    feed = Feed(tmp_path, {"s": "*.jsonl"}, {}, sections={"pack.max_tokens": 128, "pack.lanes": 1})
    feed.sections["pack.target_shard_mb"] = 1
    wrote, more, manifest = grown(feed, lambda number: f"{number:03d}.jsonl", samples=3)
    assert list(entries(manifest)) == ["0", "1"]
    full = {name: wrote[name] for name in BLOCKS_AND_SHARDS}
    assert min(full.values()) >= 67, full
    for name, count in full.items():
        assert 1 <= more[name] <= 0.015 * count, (name, more, full)


@pytest.mark.slow
def test_a_new_date_costs_as_much_as_each_before(tmp_path: Path) -> None:
    feed = Feed(tmp_path, {"s": "*.jsonl"}, {"s": DATE}, sections={"pack.lanes": 1})
    days = [f"2026-{month:02d}-{day:02d}" for month in range(1, 6) for day in range(1, 27)]
    wrote, more, manifest = grown(feed, lambda number: f"date={days[number]}.jsonl", samples=1)
    assert len(manifest.partitions) == FILES + 1
    full = Counter({name: wrote[name] for name in BLOCKS_AND_SHARDS})
    assert full == dict.fromkeys(BLOCKS_AND_SHARDS, FILES)
    assert {name: more[name] for name in full} == dict.fromkeys(BLOCKS_AND_SHARDS, 1)


@given(st.integers(1, 10**15), st.integers(1, 10**12), st.integers(0, 100))
def test_a_hundredth_of_the_bytes_is_at_most_a_hundredth_and_a_half_of_the_stripe_sets(
    size: int, target: int, less: int
) -> None:
    full, more = stripe_sets(size, target), stripe_sets(max(0, size // 100 - less), target)
    assert full >= 1 <= more
    if full >= 67:
        assert more <= 0.015 * full
    # a shard has between two thirds and one and a half times the target size
    assert full == 1 or 2 * size <= 3 * full * target
    assert full == 1 or 4 * size >= 3 * full * target


def rich(feed: Feed, answer: str) -> None:
    """Two days with pictures, a video and a depth map, and what is said of them."""
    media = {"clip.mp4": film(), "d0.png": SCENE[0].depth}
    media["v0.png"] = encoded(picture(0, SCENE[0].wh), "png")
    feed.source.mkdir(parents=True, exist_ok=True)
    for name, data in media.items():
        if not (feed.source / name).exists():
            (feed.source / name).write_bytes(data)
    for day in ("2026-01-02", "2026-01-03"):
        records: list[Record] = [
            asked(name, feed.picture(name), answer=answer) for name in names(day)
        ]
        records.append(asked(f"{day}-film", {"type": "video", "path": "clip.mp4"}, answer=answer))
        records.append(asked(f"{day}-deep", scene(view(0, path="d0.png")), answer=answer))
        feed.write(f"date={day}/records.jsonl", records)


@pytest.fixture
def pixels(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often pictures, frames and depth maps are decoded, and pictures encoded."""
    counts: Counter[str] = Counter()

    def counted(owner: Any, name: str, what: str) -> None:
        inner = getattr(owner, name)

        def count(*args: object, **options: object) -> object:
            counts[what] += 1
            return inner(*args, **options)

        monkeypatch.setattr(owner, name, count)

    counted(ImageFile.ImageFile, "load", "decode")
    counted(Image.Image, "save", "encode")
    counted(workers.item_pictures, "decode", "decode")
    counted(workers.item_pictures, "frames", "video")
    counted(workers.payloads, "encode", "encode")
    counted(workers.cameras, "decode_depth", "depth")
    return counts


def answers(feed: Feed) -> None:
    rich(feed, "Other words, and more of them.")


def suffix(feed: Feed) -> None:
    feed.keys["s"] = "prompt_suffix = ' Be brief.'"


def template(feed: Feed) -> None:
    feed.sections["text.template"] = "plain"


def capacity(feed: Feed) -> None:
    feed.sections["pack.max_tokens"] = 2048


@pytest.mark.parametrize("change", [answers, suffix, template, capacity])
def test_a_pack_with_other_text_decodes_and_encodes_nothing(
    tmp_path: Path, pixels: Counter[str], change: Callable[[Feed], None]
) -> None:
    feed = Feed(tmp_path, sections={"pack.max_tokens": 1024})  # where all fits as it is
    rich(feed, "Words.")
    before = feed.build()
    # each distinct picture, video and depth map once
    assert pixels["encode"] >= 12 <= pixels["decode"]
    assert (pixels["video"], pixels["depth"]) == (1, 1)
    change(feed)
    pixels.clear()
    after, wrote = written(feed.folder, feed.build)
    assert pixels == {}
    assert (wrote["rendered.bin"], wrote["out.tar"] > 0) == (0, True)
    assert digests_differ(before, after)
    assert verify(feed.out).problems == []


def digests_differ(before: Built, after: Built) -> bool:
    old = {shard.sha256 for shard in before.manifest.shards}
    return old.isdisjoint(shard.sha256 for shard in after.manifest.shards)


SHARE = 0.3


def both_parts(
    folder: Path, write: Callable[[Feed], None], weight: str
) -> list[tuple[Feed, Built]]:
    parts = []
    for part in ("train", "held_out"):
        feed = Feed(folder / part, keys={"s": weight})
        feed.sections |= {"split.held_out": SHARE, "split.part": part}
        feed.sections["select.max_drop_ratio"] = 0.1
        write(feed)
        parts.append((feed, feed.build()))
        assert verify(feed.out).problems == []
    return parts


def split_days(feed: Feed) -> None:
    """One day with many samples, and one whose samples are all in the part for training."""
    feed.write("date=2026-01-02/records.jsonl", names("day", 40))
    few = [name for name in names("few", 40) if not is_held_out(f"s/{name}", SHARE)]
    feed.write("date=2026-01-03/records.jsonl", few[:2])


@pytest.mark.parametrize("weight", ["weight = 1.0", "weight = 2.0", "weight = 0.5"])
def test_the_parts_of_a_split_hold_every_sample_once(tmp_path: Path, weight: str) -> None:
    parts = both_parts(tmp_path, split_days, weight)
    held = [Counter(n for p in packs_of(f.out, b) for n in p.header.sample_id) for f, b in parts]
    assert not held[0].keys() & held[1].keys()
    rows = [ledger_rows(feed.out, built.manifest) for feed, built in parts]
    assert rows[0].keys() == rows[1].keys()
    assert len(rows[0]) == 42
    for name in rows[0]:
        drops = [one[name]["drop"] for one in rows]
        side = int(is_held_out(name, SHARE))
        assert drops[1 - side] == ("zero_weight" if drops[side] else "held_out")
        assert (drops[side] is None) == (name in held[side])
        if drops[side] is None:
            assert held[side][name] == (2 if weight == "weight = 2.0" else 1)
    for (_, built), one in zip(parts, rows, strict=True):
        ledger = built.manifest.ledger
        assert ledger.seen == 42 == ledger.packed + sum(ledger.dropped.values())
        assert ledger.packed == sum(row["drop"] is None for row in one.values())


def test_a_partition_may_lie_on_one_side_whole(tmp_path: Path) -> None:
    _, (feed, built) = both_parts(tmp_path, split_days, "")
    full, empty = built.manifest.partitions
    assert (empty.samples, empty.packs, empty.rows, empty.shards) == (2, 0, 0, [])
    card = (feed.out / "README.md").read_text()
    assert (full.digest[:8] in card, empty.digest[:8] in card) == (True, False)


def test_faults_count_in_the_part_that_has_the_sample(tmp_path: Path) -> None:
    lost = [n for n in names("lost", 40) if not is_held_out(f"s/{n}", SHARE)][:4]

    def write(feed: Feed) -> None:
        feed.write("date=2026-01-02/a.jsonl", names("day", 60))
        feed.write("date=2026-01-02/b.jsonl", [asked(name, "none.png") for name in lost])

    # 4 of some 46: fewer than max_drop_ratio of those for training, more than of those held out
    (_, train), (_, held_out) = both_parts(tmp_path, write, "")
    assert train.manifest.ledger.dropped["missing_media"] == len(lost)
    assert "missing_media" not in held_out.manifest.ledger.dropped


def test_a_split_stays_through_versions_and_sources(tmp_path: Path) -> None:
    feed = Feed(tmp_path, sections={"split.held_out": SHARE})
    split_days(feed)
    first = feed.build()
    feed.write("date=2026-01-04/records.jsonl", names("later", 10))
    feed.sources["t"], feed.patterns["t"] = "other/*.jsonl", DATE
    feed.write("other/date=2026-01-04.jsonl", names("later", 10))
    second = feed.build()
    assert second.manifest.partitions[:2] == first.manifest.partitions
    feed.write("date=2026-01-02/records.jsonl", [*names("day", 40)[::-1], "more"])
    third = feed.build()
    sides: dict[str, str | None] = {}
    for built in (first, second, third):
        for name, row in ledger_rows(feed.out, built.manifest).items():
            assert sides.setdefault(name, row["drop"]) == row["drop"]
    assert set(sides.values()) == {None, "held_out"}
    # a greater share holds out what a smaller one did
    feed.sections["split.held_out"] = 2 * SHARE
    more = ledger_rows(feed.out, feed.build().manifest)
    assert all(more[name]["drop"] for name, drop in sides.items() if drop)
    assert verify(feed.out).problems == []


def test_a_split_of_both_sides_of_growth_has_the_same_bytes(tmp_path: Path) -> None:
    sections = {"split.held_out": SHARE}
    grown_feed, fresh = (
        Feed(tmp_path / "a", sections=sections),
        Feed(tmp_path / "b", sections=sections),
    )
    split_days(grown_feed)
    grown_feed.build()
    for feed in (grown_feed, fresh):
        feed.write("date=2026-01-04/records.jsonl", names("later", 10))
    split_days(fresh)
    one, two = grown_feed.build().manifest, fresh.build().manifest
    assert one.partitions == two.partitions
    assert one.ledger == two.ledger
    assert contents(grown_feed.out, one.shards) == contents(fresh.out, two.shards)
    assert sample_ids(fresh.out, two.partitions[2])
