"""Partitions of whole builds: nothing crosses them, and what is not touched stays the same file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.build import Built
from pipelines.engine import NoWork
from pipelines.verify import verify
from schemas.errors import BuildError, RecipeError
from schemas.manifest import Manifest
from tests.pipelines.conftest import Here, Recorder
from tests.pipelines.feed import DATE, Feed, contents, entries, members, names, on_disk, sample_ids
from tests.tiny_source import asked, ledger_rows

DAYS = ("2026-01-02", "2026-01-03", "2026-01-05")
PARTS = [f"date={day}" for day in DAYS]


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    """Three days of six samples."""
    made = Feed(tmp_path)
    for day in DAYS:
        made.write(f"date={day}/records.jsonl", names(day))
    return made


def checked(feed: Feed, engine: Recorder | None = None) -> Built:
    """A build that holds what it says, and after which there is nothing to do."""
    built = feed.build(engine)
    assert verify(feed.out).problems == []
    assert not feed.build(NoWork()).new
    return built


def untouched(before: Manifest, after: Manifest) -> set[str]:
    """Partitions whose entries are the same in both."""
    old, new = entries(before), entries(after)
    return {name for name in old if new.get(name) == old[name]}


def test_each_day_is_a_partition_with_the_bytes_that_it_has_alone(
    feed: Feed, tmp_path: Path
) -> None:
    built = checked(feed)
    assert list(entries(built.manifest)) == PARTS
    for day, entry in zip(DAYS, built.manifest.partitions, strict=True):
        alone = Feed(tmp_path / day)
        alone.write(f"date={day}/records.jsonl", names(day))
        [own] = checked(alone).manifest.partitions
        assert own == entry
        assert contents(alone.out, own.shards) == contents(feed.out, entry.shards)


def test_packs_and_fillers_stay_inside(feed: Feed) -> None:
    built = checked(feed)
    keys: list[str] = []
    for day, entry in zip(DAYS, built.manifest.partitions, strict=True):
        packs = members(feed.out, entry)
        assert sorted(name for pack in packs.values() for name in pack) == [
            f"s/{name}" for name in names(day)
        ]
        assert len(packs) == entry.rows * built.manifest.lanes == entry.packs + entry.fillers
        assert {shard.lane for shard in entry.shards} == {0, 1}
        keys += packs
    assert len(set(keys)) == len(keys)
    ledger = ledger_rows(feed.out, built.manifest)
    assert {name: row["partition"] for name, row in ledger.items()} == {
        f"s/{name}": f"date={day}" for day in DAYS for name in names(day)
    }


def test_a_new_day_and_a_late_one_come_behind_and_leave_the_others(feed: Feed) -> None:
    before = checked(feed).manifest
    files = on_disk(feed.out, before.shards)
    for day in ("2026-01-04", "2026-01-06"):
        feed.write(f"date={day}/records.jsonl", names(day))
    engine = Recorder(Here())
    after = checked(feed, engine).manifest
    assert list(entries(after)) == [*PARTS, "date=2026-01-04", "date=2026-01-06"]
    assert untouched(before, after) == set(PARTS)
    assert on_disk(feed.out, before.shards) == files
    assert engine.asked == {
        "run_survey": 4,
        "run_tokenize": 4,
        "run_render": 4,
        "run_assemble": 4,
    }
    feed.write("date=2025-12-31/records.jsonl", names("old"))
    assert list(entries(checked(feed).manifest))[-1] == "date=2025-12-31"


def test_a_changed_file_rebuilds_its_partition_alone(feed: Feed) -> None:
    before = checked(feed).manifest
    files = on_disk(feed.out, before.shards)
    feed.write(f"date={DAYS[1]}/records.jsonl", [*names(DAYS[1]), "more"])
    after = checked(feed).manifest
    assert list(entries(after)) == PARTS
    assert untouched(before, after) == {PARTS[0], PARTS[2]}
    assert on_disk(feed.out, before.shards) == files  # also those that no version names any more
    assert "s/more" in sample_ids(feed.out, after.partitions[1])
    feed.write(f"date={DAYS[1]}/records.jsonl", names(DAYS[1]))
    assert checked(feed).manifest.partitions == before.partitions
    assert on_disk(feed.out, before.shards) == files


def test_a_second_file_of_a_day_and_one_that_goes_change_that_day_alone(feed: Feed) -> None:
    before = checked(feed).manifest
    feed.write(f"date={DAYS[0]}/late.jsonl", ["late"])
    grown = checked(feed).manifest
    assert untouched(before, grown) == set(PARTS[1:])
    assert grown.files.files == 4
    (feed.source / f"date={DAYS[0]}" / "late.jsonl").unlink()
    assert checked(feed).manifest.partitions == before.partitions


def test_a_partition_whose_files_are_gone_leaves_and_comes_back_behind(feed: Feed) -> None:
    before = checked(feed).manifest
    files = on_disk(feed.out, before.shards)
    file = feed.source / f"date={DAYS[0]}" / "records.jsonl"
    text = file.read_text()
    file.unlink()
    after = checked(feed).manifest
    assert list(entries(after)) == PARTS[1:]
    assert untouched(before, after) == set(PARTS[1:])
    assert after.ledger.seen == 12
    file.write_text(text)
    again = checked(feed).manifest
    assert list(entries(again)) == [*PARTS[1:], PARTS[0]]
    assert untouched(before, again) == set(PARTS)
    assert on_disk(feed.out, before.shards) == files


def test_an_id_of_an_earlier_partition_is_dropped_in_the_later_one(feed: Feed) -> None:
    feed.write(f"date={DAYS[2]}/records.jsonl", [*names(DAYS[2]), *names(DAYS[0])[:2]])
    before = checked(feed).manifest
    assert before.ledger.dropped == {"duplicate_id": 2}
    rows = ledger_rows(feed.out, before)
    assert rows[f"s/{DAYS[0]}-0"]["partition"] == PARTS[0]
    assert sample_ids(feed.out, before.partitions[2]) == [f"s/{name}" for name in names(DAYS[2])]
    # where the earlier one goes, the later one has them
    feed.write(f"date={DAYS[0]}/records.jsonl", names(DAYS[0])[1:])
    after = checked(feed).manifest
    assert after.ledger.dropped == {"duplicate_id": 1}
    assert f"s/{DAYS[0]}-0" in sample_ids(feed.out, after.partitions[2])
    assert untouched(before, after) == {PARTS[1]}


def test_a_late_date_does_not_take_ids_from_what_is_published(feed: Feed) -> None:
    before = checked(feed).manifest
    feed.write("date=2025-01-01/records.jsonl", [*names(DAYS[0]), "own"])
    after = checked(feed).manifest
    assert untouched(before, after) == set(PARTS)
    assert sample_ids(feed.out, after.partitions[3]) == ["s/own"]


def test_files_of_one_name_in_two_folders_have_different_ids(feed: Feed) -> None:
    for day in DAYS:
        records = [asked(name) for name in names(day, 3)]
        for record in records:
            del record["id"]
        feed.write(f"date={day}/records.jsonl", records)
    manifest = checked(feed).manifest
    assert manifest.ledger.dropped == {}
    assert sample_ids(feed.out, manifest.partitions[0]) == [
        f"s/{PARTS[0]}/records-{number}" for number in (1, 2, 3)
    ]


def two_sources(feed: Feed) -> None:
    """A second source without a pattern, of two files."""
    feed.sources["t"] = "extra/*.jsonl"
    feed.write("extra/a.jsonl", names("a"))
    feed.write("extra/b.jsonl", names("b"))


def test_a_whole_new_source_leaves_old_shards_alone(feed: Feed) -> None:
    before = checked(feed).manifest
    files = on_disk(feed.out, before.shards)
    two_sources(feed)
    after = checked(feed).manifest
    assert list(entries(after)) == [*PARTS, "0"]
    assert untouched(before, after) == set(PARTS)
    assert on_disk(feed.out, before.shards) == files
    # headers name the recipe by what shapes packs: sources are not in it
    assert {entry.recipe_digest for entry in after.partitions} == {before.recipe_digest}
    assert after.recipe_digest == before.recipe_digest
    assert [source["name"] for source in after.recipe["sources"]] == ["s", "t"]
    assert sample_ids(feed.out, after.partitions[3]) == [
        f"t/{name}" for name in (*names("a"), *names("b"))
    ]


def test_a_new_source_that_shares_a_date_changes_that_date_alone(feed: Feed) -> None:
    before = checked(feed).manifest
    feed.sources["t"], feed.patterns["t"] = "other/*/*.jsonl", DATE
    feed.write(f"other/date={DAYS[1]}/x.jsonl", names("x"))
    feed.write("other/date=2026-02-01/x.jsonl", names("y"))
    after = checked(feed).manifest
    assert list(entries(after)) == [*PARTS, "date=2026-02-01"]
    assert untouched(before, after) == {PARTS[0], PARTS[2]}
    assert {name.partition("/")[0] for name in sample_ids(feed.out, after.partitions[1])} == {
        "s",
        "t",
    }


@pytest.mark.parametrize("line", ["weight = 2.0", "prompt_suffix = ' Be brief.'"])
def test_what_shapes_one_source_changes_partitions_that_hold_it(feed: Feed, line: str) -> None:
    two_sources(feed)
    before = checked(feed).manifest
    feed.keys["t"] = line
    after = checked(feed).manifest
    assert untouched(before, after) == set(PARTS)
    assert entries(after)["0"].digest != entries(before)["0"].digest


def test_generations_grow_by_files(tmp_path: Path) -> None:
    feed = Feed(tmp_path, {"s": "*.jsonl"}, {})
    feed.write("a.jsonl", names("a"))
    feed.write("b.jsonl", names("b"))
    before = checked(feed).manifest
    feed.write("aa.jsonl", names("aa"))
    after = checked(feed).manifest
    assert list(entries(after)) == ["0", "1"]
    assert untouched(before, after) == {"0"}
    feed.write("b.jsonl", names("b", 7))  # changed: stays where it is
    (feed.source / "aa.jsonl").unlink()
    feed.write("c.jsonl", names("c"))
    last = checked(feed).manifest
    assert list(entries(last)) == ["0", "2"]
    assert last.partitions[0].samples == 13
    assert untouched(after, last) == set()


def test_a_source_gains_a_pattern_and_loses_it_again(feed: Feed) -> None:
    feed.patterns.clear()
    before = checked(feed).manifest
    assert list(entries(before)) == ["0"]
    feed.patterns["s"] = DATE
    after = checked(feed).manifest
    assert list(entries(after)) == PARTS
    assert after.ledger.seen == before.ledger.seen
    feed.patterns.clear()
    assert checked(feed).manifest.partitions == before.partitions


def test_a_file_that_the_pattern_does_not_match_stops_a_build(feed: Feed) -> None:
    feed.sources["s"] = "**/*.jsonl"
    feed.write("undated/records.jsonl", ["x"])
    with pytest.raises(RecipeError) as error:
        feed.build()
    assert str(error.value) == (
        "sources.s.partition: undated/records.jsonl does not match the pattern "
        "'date=(?P<date>[0-9-]+)'"
    )


def test_a_night_without_a_record_is_no_partition_yet(feed: Feed) -> None:
    before = checked(feed).manifest
    feed.write("date=2026-01-06/records.jsonl", [])
    assert not feed.build(NoWork()).new
    feed.write("date=2026-01-07/records.jsonl", names("x"))
    feed.write("date=2026-01-06/records.jsonl", names("y"))
    after = checked(feed).manifest
    assert list(entries(after)) == [*PARTS, "date=2026-01-06", "date=2026-01-07"]
    assert untouched(before, after) == set(PARTS)


def test_too_many_drops_of_one_partition_stop_a_build(feed: Feed) -> None:
    feed.sections["select.max_drop_ratio"] = 0.2
    before = checked(feed).manifest
    feed.write("date=2026-01-06/records.jsonl", [*names("x", 3), *names(DAYS[0], 1)])
    with pytest.raises(BuildError, match=r"^partition date=2026-01-06: 1 of 4 samples would be"):
        feed.build()
    feed.write("date=2026-01-06/records.jsonl", [*names("x", 4), *names(DAYS[0], 1)])
    assert untouched(before, checked(feed).manifest) == set(PARTS)


def test_a_data_set_without_a_sample_is_refused(feed: Feed) -> None:
    feed.keys["s"] = "weight = 0.0"
    with pytest.raises(BuildError, match="no sample is left to pack"):
        feed.build()
