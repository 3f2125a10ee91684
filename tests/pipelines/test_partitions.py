"""Partitions of whole builds: nothing crosses them, and what is not touched stays the same file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.demo_records import tar_of
from pipelines.build import Built
from pipelines.engine import NoWork
from pipelines.plan import in_earlier
from pipelines.shards import receipt_name
from pipelines.verify import verify
from schemas.errors import BuildError, ContractError, RecipeError
from schemas.manifest import FOLDER, Manifest, manifest_name
from tests.pipelines.conftest import Here, Recorder
from tests.pipelines.feed import DATE, Feed, contents, entries, members, names, on_disk, sample_ids
from tests.tiny_source import asked, encoded, ledger_rows, picture

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


def described(feed: Feed, name: str) -> None:
    """A picture, and what it shows beside it."""
    path = feed.source / "pictures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(feed.source / feed.picture(name.replace("/", "-")), path)
    path.with_suffix(".txt").write_text(f"This is {name}.")


@pytest.mark.parametrize("pattern", [DATE, None])
def test_pictures_of_a_folder_grow_too(tmp_path: Path, pattern: str | None) -> None:
    feed = Feed(tmp_path, {"p": "pictures"}, {"p": pattern} if pattern else {}, {"p": "folder"})
    feed.keys["p"] = "caption = 'txt'"
    for name in ("date=1/a", "date=1/b", "date=3/a"):
        described(feed, name)
    before = checked(feed).manifest
    for name in ("date=2/a", "date=4/a"):
        described(feed, name)
    after = checked(feed).manifest
    assert entries(after).items() > entries(before).items()
    dates = ["date=1", "date=3", "date=2", "date=4"]
    assert list(entries(after)) == (dates if pattern else ["0", "1"])
    assert after.ledger.packed == after.files.files == 5
    (feed.source / "pictures" / "date=1" / "a.txt").write_text("Another caption.")
    last = checked(feed).manifest
    assert untouched(after, last) == set(entries(after)) - {"date=1" if pattern else "0"}


def write_tar(feed: Feed, name: str) -> None:
    members = {f"{n}.png": encoded(picture(n), "png") for n in range(3)}
    members |= {f"{n}.txt": f"{name} {n}".encode() for n in range(3)}
    path = feed.source / f"{name}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_of(dict(sorted(members.items()))))


def test_tars_whose_keys_repeat_grow_too(tmp_path: Path) -> None:
    feed = Feed(tmp_path, {"w": "**/*.tar"}, {"w": DATE}, {"w": "webdataset"})
    for name in ("date=1/00000", "date=2/00000"):
        write_tar(feed, name)
    before = checked(feed).manifest
    write_tar(feed, "date=3/00000")
    engine = Recorder(Here())
    after = checked(feed, engine).manifest
    assert untouched(before, after) == {"date=1", "date=2"}
    assert (after.ledger.seen, after.ledger.packed) == (9, 9)
    assert engine.asked == {"run_index": 1, "run_survey": 1, "run_tokenize": 1, "run_assemble": 2}


def test_a_partition_made_again_alone_looks_at_earlier_ones_and_at_the_list(feed: Feed) -> None:
    feed.write(f"date={DAYS[2]}/records.jsonl", [*names(DAYS[2]), names(DAYS[0])[0]])
    before = checked(feed).manifest
    feed.write(f"date={DAYS[2]}/records.jsonl", [*names(DAYS[2], 8), names(DAYS[0])[0]])
    feed.write(f"date={DAYS[1]}/records.jsonl", names(DAYS[1], 9))
    listed = feed.folder / "list"
    listed.write_text(f"s/{DAYS[0]}-1\ns/{DAYS[2]}-1\n")
    feed.sections["select.take_down"] = str(listed)
    after = feed.build(only=[PARTS[2]]).manifest
    assert verify(feed.out).problems == []
    assert untouched(before, after) == set(PARTS[:2])
    assert after.ledger.dropped == {"duplicate_id": 1, "taken_down": 1}
    assert (after.ledger.seen, after.files.files) == (21, 3)
    assert feed.build(only=[PARTS[2]]).manifest == after
    whole = checked(feed).manifest
    assert untouched(after, whole) == {PARTS[2]}
    assert whole.ledger.dropped == {"duplicate_id": 1, "taken_down": 2}


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


@given(
    st.lists(
        st.lists(st.integers(0, 9) | st.integers(2**64 - 9, 2**64 - 1), max_size=6), min_size=1
    )
)
def test_ids_are_looked_up_in_the_partitions_before(parts: list[list[int]]) -> None:
    hashes: list[Any] = [np.unique(np.array(part, np.uint64)) for part in parts]
    seen: set[int] = set()
    for mine, again in zip(hashes, in_earlier(hashes), strict=True):
        assert again.tolist() == [one for one in mine.tolist() if one in seen]
        seen.update(mine.tolist())


def test_a_shard_of_another_digest_under_its_name_is_not_written_over(feed: Feed) -> None:
    built = checked(feed)
    [shard, *_] = built.manifest.shards
    receipt = feed.out / receipt_name(shard.name)
    told = json.loads(receipt.read_text())
    receipt.write_text(json.dumps({**told, "partition": told["partition"][:8] + "0" * 56}))
    with pytest.raises(BuildError, match=f"^{shard.name}: its digest begins like that of a shard"):
        feed.build()


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: os.truncate(path, 99)])
def test_a_ledger_that_is_lost_is_written_again(feed: Feed, damage: Callable[[Path], None]) -> None:
    manifest = checked(feed).manifest
    damage(feed.out / FOLDER / manifest.ledger.name)
    with pytest.raises(ContractError, match="ledger-"):
        feed.build(only=[PARTS[0]])
    assert feed.build().manifest == manifest
    assert verify(feed.out).problems == []


def altered(feed: Feed, change: Callable[[dict[str, Any]], None]) -> list[str]:
    """What verify finds where the manifest says something else."""
    path = feed.out / manifest_name(1)
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))
    return verify(feed.out).problems


def swap(told: dict[str, Any]) -> None:
    told["partitions"] = told["partitions"][::-1]


ALTERED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "taken_down": (lambda t: t["partitions"][1].update(taken_down=1), "0 samples taken down, the"),
    "samples": (lambda t: t["partitions"][1].update(samples=7), "6 samples, the manifest says 7"),
    "instances": (lambda t: t["partitions"][1].update(instances=7), "6 instances, the manifest"),
    "recipe": (lambda t: t["partitions"][1].update(recipe_digest="0" * 64), "packs of recipe "),
    "name": (lambda t: t["partitions"][1].update(name="date=x"), "is not in the manifest"),
    "bound": (lambda t: t["partitions"][1]["balance"].update(lower_bound=1), "balance is "),
    "bundle": (lambda t: t["partitions"][1]["packing"].update(bundle=99), "are no bundles of 99"),
    "small": (
        lambda t: t["partitions"][1]["packing"]["bounds"].update(tokens=9),
        "a pack has more than 9 tokens",
    ),
    "rounded": (
        lambda t: t["partitions"][1]["packing"].update(segment_multiple=64),
        "tokens, its samples have ",
    ),
    "order": (swap, "names the partitions "),
    "gone": (lambda t: t["partitions"].pop(), "is not in the manifest"),
    "files": (lambda t: t["files"].update(files=4), "3 files, the manifest says 4"),
    "digest": (lambda t: t["files"].update(sha256="0" * 64), "sha256 differs"),
    "seen": (lambda t: t["ledger"].update(seen=19, packed=19), "do not have the 19 samples seen"),
}


@pytest.mark.parametrize("what", ALTERED)
def test_verify_sees_what_the_manifest_says_wrongly(feed: Feed, what: str) -> None:
    feed.build()
    change, words = ALTERED[what]
    problems = altered(feed, change)
    assert any(words in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p["bounds"].pop("tokens"), "tokens are always bounded"),
        (lambda p: p["time"].pop("patches"), "expected tokens, patches, attention, vit_attention"),
        (lambda p: p["time"].update(tokens=1 << 70), "partitions.0.packing.time.tokens: "),
        (lambda p: p.update(bundle=0), "partitions.0.packing.bundle: "),
    ],
)
def test_a_manifest_that_says_nonsense_is_told_in_one_line(
    feed: Feed, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    feed.build()
    with pytest.raises(ContractError, match=words):
        altered(feed, lambda told: change(told["partitions"][0]["packing"]))
