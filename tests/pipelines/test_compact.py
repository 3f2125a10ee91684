"""Neighbouring partitions made one: packed together, rendered not at all, and kept together."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.build import Built
from pipelines.engine import Engine, NoWork
from pipelines.verify import verify
from pipelines.versions import read_manifest
from schemas.errors import RecipeError
from tests.pipelines.conftest import Here, Recorder
from tests.pipelines.feed import Feed, entries, names, on_disk, sample_ids

DAYS = ("2026-01-02", "2026-01-03", "2026-01-05", "2026-01-06")
PARTS = [f"date={day}" for day in DAYS]
INTO = f"{PARTS[1]}..{PARTS[2]}"


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    """Four days of five samples, built."""
    made = Feed(tmp_path)
    for day in DAYS:
        made.write(f"date={day}/records.jsonl", names(day, 5))
    made.build()
    return made


def merged(feed: Feed, first: str, last: str, engine: Engine | None = None) -> Built:
    return feed.build(engine, merge=(first, last))


def test_neighbours_are_packed_together_and_nothing_is_rendered(feed: Feed) -> None:
    before = read_manifest(feed.out)
    files = on_disk(feed.out, before.shards)
    engine = Recorder(Here())
    after = merged(feed, PARTS[1], PARTS[2], engine).manifest
    assert engine.asked == {"run_assemble": 2}
    assert verify(feed.out).problems == []
    assert list(entries(after)) == [PARTS[0], INTO, PARTS[3]]
    assert entries(after)[INTO].merged == PARTS[1:3]
    assert sample_ids(feed.out, entries(after)[INTO]) == sorted(
        f"s/{name}" for day in DAYS[1:3] for name in names(day, 5)
    )
    assert sum(entry.packs for entry in after.partitions) < sum(
        entry.packs for entry in before.partitions
    )
    for name in (PARTS[0], PARTS[3]):
        assert entries(after)[name] == entries(before)[name]
    assert on_disk(feed.out, before.shards) == files  # earlier versions keep theirs
    assert after.ledger.packed == before.ledger.packed


def test_later_builds_keep_them_together(feed: Feed) -> None:
    after = merged(feed, PARTS[1], PARTS[2]).manifest
    assert not feed.build(NoWork()).new
    feed.write(f"date={DAYS[2]}/late.jsonl", ["late"])
    feed.write("date=2026-01-07/records.jsonl", names("new"))
    grown = feed.build().manifest
    assert list(entries(grown)) == [PARTS[0], INTO, PARTS[3], "date=2026-01-07"]
    assert "s/late" in sample_ids(feed.out, entries(grown)[INTO])
    assert entries(grown)[INTO].merged == entries(after)[INTO].merged
    further = merged(feed, INTO, "date=2026-01-07").manifest
    [_, whole] = further.partitions
    assert whole.name == f"{PARTS[1]}..date=2026-01-07"
    assert whole.merged == [*PARTS[1:], "date=2026-01-07"]
    assert not feed.build(NoWork()).new


def test_generations_become_one_and_new_files_the_next(tmp_path: Path) -> None:
    feed = Feed(tmp_path, sources={"s": "*.jsonl"}, patterns={})
    for number in range(3):
        feed.write(f"{number}.jsonl", names(str(number), 4))
        feed.build()
    assert list(entries(merged(feed, "0", "1").manifest)) == ["0..1", "2"]
    feed.write("3.jsonl", names("3", 4))
    assert list(entries(feed.build().manifest)) == ["0..1", "2", "3"]
    assert verify(feed.out).problems == []


def test_of_ids_that_come_again_the_first_counts(feed: Feed) -> None:
    feed.write(f"date={DAYS[2]}/again.jsonl", [names(DAYS[0])[0], names(DAYS[1])[0], "own"])
    feed.build()
    after = merged(feed, PARTS[1], PARTS[2]).manifest
    assert verify(feed.out).problems == []
    assert after.ledger.dropped == {"duplicate_id": 2}
    assert "s/own" in sample_ids(feed.out, entries(after)[INTO])


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        (PARTS[2], PARTS[1], "their order is date=2026-01-02, date=2026-01-03"),
        (PARTS[1], PARTS[1], "their order is"),
        (PARTS[1], "date=1999-01-01", "partition 'date=1999-01-01': there are date=2026-01-02"),
    ],
)
def test_what_is_no_run_of_neighbours_is_refused(
    feed: Feed, first: str, last: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        merged(feed, first, last)


def test_before_anything_is_published_there_is_nothing_to_compact(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.write("date=2026-01-01/records.jsonl", ["a"])
    with pytest.raises(RecipeError, match="holds no published data set to compact"):
        merged(feed, "a", "b")
