"""What a take-down list names leaves its packs, and nothing else moves."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from patchpack import Pack
from pipelines.build import Built
from pipelines.engine import NoWork
from pipelines.explain import explain
from pipelines.steps import Workshop
from pipelines.take_down_list import TakeDownList, read_list
from pipelines.verify import verify
from pipelines.versions import read_manifest
from schemas.errors import RecipeError
from schemas.manifest import Manifest
from tests.pipelines.conftest import Here, Recorder, packs_of, written
from tests.pipelines.feed import Feed, contents, entries, names, on_disk
from tests.pipelines.test_scenes import SCENE, scene, view
from tests.s3_server import s3_server, use
from tests.test_interop import run
from tests.tiny_source import Record, asked, broken_png, encoded, film, ledger_rows, picture
from tests.workers.storage.faulty_proxy import upload
from workers.select import is_held_out

DAYS = ("2026-01-02", "2026-01-03")
FULL = "Words. " * 32  # a pack of its own
DEPTH = "d0.png"


def records(feed: Feed, day: str) -> list[Record]:
    """Pictures, several in a sample, a video, a view with depth, a document that fills a pack."""
    media = {"clip.mp4": film(), DEPTH: SCENE[0].depth}
    media["v0.png"] = encoded(picture(0, SCENE[0].wh), "png")
    for name, data in media.items():
        (feed.source / name).parent.mkdir(parents=True, exist_ok=True)
        (feed.source / name).write_bytes(data)
    pictures = [feed.picture(name) for name in names(day)]
    video: Record = {"type": "video", "path": "clip.mp4"}
    return [
        *(asked(name, path) for name, path in zip(names(day), pictures, strict=True)),
        asked(f"{day}-two", pictures[0], pictures[1]),
        asked(f"{day}-film", video, pictures[2]),
        asked(f"{day}-deep", scene(view(0, path=DEPTH))),
        {"id": f"{day}-full", "turns": [{"role": "text", "text": FULL}]},
    ]


def write(feed: Feed) -> Feed:
    for day in DAYS:
        feed.write(f"date={day}/records.jsonl", records(feed, day))
    return feed


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Feed, Built]:
    """Two days, built without a list; not to change."""
    feed = write(Feed(tmp_path_factory.mktemp("whole")))
    return feed, feed.build()


@pytest.fixture
def feed(whole: tuple[Feed, Built], tmp_path: Path) -> Feed:
    """A copy of it."""
    shutil.copytree(whole[0].folder, tmp_path / "feed")
    return Feed(tmp_path / "feed")


def take_down(feed: Feed, *lines: str) -> Built:
    """A build with this list, that holds what it says, and after which there is nothing to do."""
    listed(feed, *lines)
    built = feed.build()
    assert verify(feed.out).problems == []
    assert not feed.build(NoWork()).new
    return built


def listed(feed: Feed, *lines: str) -> None:
    path = feed.folder / "take-down.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    feed.sections["select.take_down"] = str(path)


def sha256(feed: Feed, path: str) -> str:
    return hashlib.sha256((feed.source / path).read_bytes()).hexdigest()


def places(root: Path, built: Built) -> dict[tuple[str, int, int], Pack]:
    """Every pack by partition, lane and row."""
    return {
        (entry.name, pack.header.lane, pack.header.row): pack
        for entry in built.manifest.partitions
        for pack in packs_of(root, Built(_only(built.manifest, entry.name), new=False))
    }


def _only(manifest: Manifest, name: str) -> Manifest:
    return manifest.model_copy(update={"partitions": [entries(manifest)[name]]})


def gone(before: Built, after: Built) -> set[str]:
    """Shards of the first version that the second one does not have."""
    return {s.name for s in before.manifest.shards} - {s.name for s in after.manifest.shards}


def holders(root: Path, built: Built, *ids: str) -> set[str]:
    """The shards that hold these samples."""
    rows = ledger_rows(root, built.manifest)
    return {rows[name]["shard"] for name in ids}


def assert_only_these_left(feed: Feed, before: Built, after: Built, *ids: str) -> None:
    """Every pack stands where it stood and holds what it held, but for these samples; shards that
    held none of them are the same.
    """
    old, new = places(feed.out, before), places(feed.out, after)
    assert old.keys() == new.keys()
    for place, pack in old.items():
        left = [name for name in pack.header.sample_id if name not in ids]
        assert new[place].header.sample_id == left
        assert new[place].header.filler == (not left)
    assert gone(before, after) == holders(feed.out, before, *ids)
    assert sum(e.taken_down for e in after.manifest.partitions) == len(set(ids))
    dropped = before.manifest.ledger.dropped | {"taken_down": len(set(ids))}
    assert after.manifest.ledger.dropped == dropped
    assert after.manifest.ledger.seen == before.manifest.ledger.seen


def test_an_id_leaves_its_pack_and_only_its_shard_is_written(
    whole: tuple[Feed, Built], feed: Feed
) -> None:
    before = whole[1]
    files = on_disk(feed.out, before.manifest.shards)
    taken = f"s/{DAYS[0]}-2"
    engine = Recorder(Here())
    listed(feed, taken)
    after, made = written(feed.folder, lambda: feed.build(engine))
    assert engine.asked == {"run_assemble": 1}
    assert made == {"out.tar": 1}
    assert verify(feed.out).problems == []
    assert_only_these_left(feed, before, after, taken)
    assert on_disk(feed.out, before.manifest.shards) == files
    assert after.manifest.partitions[1] == before.manifest.partitions[1]
    # the plan is the same, so the partition is, but for its figures and the one shard
    one, other = before.manifest.partitions[0], after.manifest.partitions[0]
    assert (other.digest, other.stages, other.rows) == (one.digest, one.stages, one.rows)
    assert (other.samples, other.instances) == (one.samples, one.instances - 1)


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        (f"images/{DAYS[0]}-0.png", [f"{DAYS[0]}-0", f"{DAYS[0]}-two"]),
        (f"images/{DAYS[0]}-2.png", [f"{DAYS[0]}-2", f"{DAYS[0]}-film"]),
        ("clip.mp4", [f"{day}-film" for day in DAYS]),
        (DEPTH, [f"{day}-deep" for day in DAYS]),
    ],
)
def test_a_file_takes_every_sample_that_shows_it(
    whole: tuple[Feed, Built], feed: Feed, path: str, kinds: list[str]
) -> None:
    after = take_down(feed, sha256(feed, path).upper())
    assert_only_these_left(feed, whole[1], after, *(f"s/{name}" for name in kinds))


def test_a_pack_that_loses_its_only_sample_is_an_explicit_empty_one(
    whole: tuple[Feed, Built], feed: Feed
) -> None:
    full = f"s/{DAYS[1]}-full"
    [place] = [p for p, pack in places(feed.out, whole[1]).items() if full in pack.header.sample_id]
    assert places(feed.out, whole[1])[place].header.sample_id == [full]
    after = take_down(feed, full)
    assert_only_these_left(feed, whole[1], after, full)
    empty = places(feed.out, after)[place]
    assert (empty.header.filler, empty.header.length, len(empty.payloads)) == (True, 0, 0)
    one, other = whole[1].manifest.partitions[1], after.manifest.partitions[1]
    assert (other.packs, other.fillers) == (one.packs - 1, one.fillers + 1)


def test_all_copies_of_a_sample_go(tmp_path: Path) -> None:
    feed = write(Feed(tmp_path, keys={"s": "weight = 2.0"}))
    before = feed.build()
    taken = f"s/{DAYS[0]}-film"
    after = take_down(feed, taken)
    held = [pack.header.sample_id.count(taken) for pack in packs_of(feed.out, before)]
    assert (sum(held), after.manifest.partitions[0].instances) == (2, 18)
    assert [p for p in packs_of(feed.out, after) if taken in p.header.sample_id] == []
    assert after.manifest.ledger.dropped == {"taken_down": 1}


def test_names_that_there_are_not_change_nothing(whole: tuple[Feed, Built], feed: Feed) -> None:
    listed(feed, "s/nobody", "t/else", "", "# s/2026-01-02-1", "f" * 64, DAYS[0])
    again = feed.build(NoWork())
    assert (again.new, again.manifest) == (False, whole[1].manifest)


def test_without_the_list_the_old_shards_are_back(whole: tuple[Feed, Built], feed: Feed) -> None:
    files = on_disk(feed.out, whole[1].manifest.shards)
    take_down(feed, f"s/{DAYS[0]}-2", f"s/{DAYS[1]}-full")
    feed.sections.clear()
    back, made = written(feed.folder, feed.build)
    assert back.manifest.partitions == whole[1].manifest.partitions
    assert (made, back.manifest.version) == ({}, 3)
    assert on_disk(feed.out, whole[1].manifest.shards) == files
    assert verify(feed.out).problems == []


def test_a_longer_list_finds_the_shards_of_the_shorter_one(
    whole: tuple[Feed, Built], feed: Feed
) -> None:
    first, second = f"s/{DAYS[0]}-full", f"s/{DAYS[1]}-2"
    one = take_down(feed, first)
    both = take_down(feed, second, first)
    assert gone(one, both) == holders(feed.out, whole[1], second)
    assert_only_these_left(feed, whole[1], both, first, second)


def test_the_same_list_gives_the_same_bytes_elsewhere(feed: Feed, tmp_path: Path) -> None:
    lines = [f"s/{DAYS[0]}-two", sha256(feed, "clip.mp4")]
    after = take_down(feed, *lines)
    fresh = write(Feed(tmp_path / "fresh"))
    built = take_down(fresh, *reversed(lines))
    assert built.manifest.partitions == after.manifest.partitions
    assert built.manifest.ledger == after.manifest.ledger
    assert contents(fresh.out, built.manifest.shards) == contents(feed.out, after.manifest.shards)


def test_together_with_a_split_faults_and_growth(tmp_path: Path) -> None:
    feed = write(Feed(tmp_path, sections={"split.held_out": 0.4}))
    broken = next(f"b{n}" for n in range(99) if not is_held_out(f"s/b{n}", 0.4))
    (feed.source / "images" / f"{broken}.png").write_bytes(broken_png())
    feed.write(f"date={DAYS[1]}/more.jsonl", [broken, "good"])
    before = feed.build()
    rows = ledger_rows(feed.out, before.manifest)
    held = [name for name, row in rows.items() if row["drop"] == "held_out"]
    kept = [name for name, row in rows.items() if not row["drop"]]
    assert len(held) > 3 < len(kept)
    assert rows[f"s/{broken}"]["drop"] == "undecodable"
    taken = kept[0]
    after = take_down(feed, taken, held[0], f"s/{broken}")
    assert_only_these_left(feed, before, after, taken)
    now = ledger_rows(feed.out, after.manifest)
    drops = {name: row["drop"] for name, row in rows.items()}
    assert {name: row["drop"] for name, row in now.items()} == drops | {taken: "taken_down"}
    assert explain(feed.out, taken, None)[f"dropped, {now[taken]['origin']}"] == (
        "taken_down: named by select.take_down"
    )
    told = explain(feed.out, held[0], None)
    assert told[f"dropped, {now[held[0]]['origin']}"] == "held_out: held out: split.held_out = 0.4"
    feed.write("date=2026-02-01/records.jsonl", [*names("new", 12), "2026-01-02-1"])
    grown = take_down(feed, taken, "s/new-1", "s/new-2", "s/new-3", "s/new-4")
    assert grown.manifest.partitions[:2] == after.manifest.partitions


def test_all_samples_of_a_partition_may_go(whole: tuple[Feed, Built], feed: Feed) -> None:
    ids = [name for name in ledger_rows(feed.out, whole[1].manifest) if DAYS[0] in name]
    after = take_down(feed, *ids)
    assert_only_these_left(feed, whole[1], after, *ids)
    part = after.manifest.partitions[0]
    assert (part.packs, part.tokens, part.balance.fill["tokens"]) == (0, 0, 0.0)


HUGGING_FACE = """
import sys
from datasets import load_dataset
for row in load_dataset(sys.argv[1], split="train", streaming=True):
    print(row["__key__"])
"""


@pytest.mark.slow
def test_hugging_face_loads_the_published_version_alone(feed: Feed, tmp_path: Path) -> None:
    after = take_down(feed, f"s/{DAYS[0]}-2", f"s/{DAYS[1]}-full")
    wanted = sorted(pack.header.key for pack in packs_of(feed.out, after))
    assert sorted(run(HUGGING_FACE, tmp_path, [str(feed.out)]).split()) == wanted
    card = (feed.out / "README.md").read_text()
    assert sum(shard.name in card for shard in after.manifest.shards) == 4
    assert "*.tar" not in card


def test_a_list_that_is_not_there_stops_a_build_before_any_work(feed: Feed) -> None:
    feed.sections["select.take_down"] = str(feed.folder / "lost.txt")
    with pytest.raises(RecipeError, match=r"^select.take_down: /.*lost.txt: No such file"):
        feed.build(NoWork())
    assert read_manifest(feed.out).version == 1


def test_a_list_is_read_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(
        b"\xef\xbb\xbfs/a\r\n\n  \n# s/b\ns/c d \r\n" + b"AB" * 32 + b"\n s/\xe2\x80\xa8e"
    )
    # spaces around an id may be its own
    ids = {"s/a", "s/c d ", "s/c d", " s/\u2028e", "s/\u2028e"}
    assert read_list(str(path)) == TakeDownList(frozenset(ids), frozenset({"ab" * 32}))
    path.write_bytes(b"s/\xff\n")
    with pytest.raises(RecipeError, match=r"list.txt: not UTF-8$"):
        read_list(str(path))


@pytest.mark.slow
def test_a_list_may_lie_at_s3(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as proxy:
        use(proxy, monkeypatch)
        upload(proxy, "lists")
        upload(proxy, "lists/of/today.txt", b"s/2026-01-02-2\n")
        feed.sections["select.take_down"] = "s3://lists/of/today.txt"
        assert feed.workshop().take_down.ids == {"s/2026-01-02-2"}
        feed.sections["select.take_down"] = "s3://lists/of/yesterday.txt"
        lost: Workshop = feed.workshop()
        with pytest.raises(RecipeError, match=r"^select.take_down: s3://lists/of/yesterday.txt: "):
            _ = lost.take_down
