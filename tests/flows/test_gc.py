"""Removing what no version names: what goes, what stays, and when."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from typer.testing import CliRunner

from flows.cli import app
from pipelines.engine import NoWork
from pipelines.gc import Limits, Removal, collect
from pipelines.verify import verify
from pipelines.versions import read_manifest, versions
from schemas.errors import ContractError
from schemas.manifest import FOLDER, POINTER, manifest_name
from tests.flows.dated import QWEN, SMALLER, build_here, write_dated_recipe, write_days
from workers.storage.folder import folder_of

DAY_S = 86_400.0

R = TypeVar("R")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set of two versions: of two policies, so they share no shard."""
    folder = tmp_path_factory.mktemp("gc")
    recipe = write_days(folder)
    build_here(recipe)
    build_here(write_dated_recipe(folder, policy=SMALLER))
    return folder


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of that data set, all of it a day old."""
    shutil.copytree(finished / "out", tmp_path / "out")
    age(tmp_path / "out", DAY_S)
    return tmp_path / "out"


def age(root: Path, seconds: float) -> None:
    """Make all files older."""
    for path in root.rglob("*"):
        if path.is_file():
            modified = path.stat().st_mtime - seconds
            os.utime(path, (modified, modified))


def sweep(root: Path, *, keep: int | None = None, cache: bool = False) -> list[Removal]:
    """Remove what is older than an hour."""
    return collect(folder_of(root), Limits(time.time() - 3600, keep, cache)).removals


def tars(root: Path) -> set[str]:
    return {path.name for path in root.glob("*.tar")}


def state(root: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_what_versions_name_stays(out: Path) -> None:
    before = state(out)
    assert sweep(out) == []
    after = state(out)
    assert after.pop(str(out / FOLDER / ".lock"))
    before.pop(str(out / FOLDER / ".lock"), None)
    assert after == before


def test_an_old_version_goes_with_all_that_only_it_names(out: Path) -> None:
    old, new = read_manifest(out, 1), read_manifest(out, 2)
    removals = sweep(out, keep=1)
    assert Counter(one.kind for one in removals) == {
        "manifest": 1,
        "shard": 4 * len(old.shards),
        "table": 1,  # its ledger; the table of files is the same
    }
    assert [one.path for one in removals if one.kind == "manifest"] == [manifest_name(1)]
    assert versions(folder_of(out)) == [2]
    assert tars(out) == {shard.name for shard in new.shards}
    assert verify(out).problems == []
    assert {path.name for path in (out / FOLDER / "shards").iterdir()} == {
        f"{shard.name}.json" for shard in new.shards
    }
    assert len(list((out / ".index").iterdir())) == len(new.shards)


def test_the_published_version_stays_however_old_it_is(out: Path) -> None:
    CliRunner().invoke(app, ["publish", str(out), "--version", "1"])
    assert sweep(out, keep=1) == []
    assert versions(folder_of(out)) == [1, 2]


def test_a_version_that_was_followed_a_short_while_ago_stays(out: Path) -> None:
    os.utime(out / manifest_name(2))
    assert sweep(out, keep=1) == []


def test_the_manifest_goes_first_and_of_a_shard_the_receipt(out: Path) -> None:
    removals = sweep(out, keep=1)
    assert removals[0].kind == "manifest"
    shards = [one.path for one in removals if one.kind == "shard"]
    assert all(path.endswith(".tar.json") for path in shards[::4])
    assert all(path.endswith(".tar") for path in shards[3::4])


def test_what_a_running_build_has_written_is_kept_for_the_grace_period(out: Path) -> None:
    """Shards without a version, as a build has them before it publishes."""
    (out / manifest_name(2)).unlink()
    (out / POINTER).write_text(json.dumps({"version": 1}))
    new = tars(out) - {shard.name for shard in read_manifest(out, 1).shards}
    [young, *_] = sorted(new)
    os.utime(out / young)
    removals = sweep(out)
    gone = {one.path for one in removals if one.path.endswith(".tar")}
    assert gone == new - {young}
    assert (out / f"{young}.idx").exists()  # old, but beside a young one
    assert (out / FOLDER / "shards" / f"{young}.json").exists()


def test_drafts_of_killed_builds_go_and_young_ones_stay(out: Path) -> None:
    shard = sorted(tars(out))[0]
    manifest = f".{manifest_name(3).rpartition('/')[2]}.7-0123abcd.tmp"
    left = [
        f".{shard}.4711-0123abcd.tmp",
        f".index/.{shard[:-4]}.npy.4711-0123abcd.tmp",
        f"{FOLDER}/.current.json.1-0123abcd.tmp",
        f"{FOLDER}/.{manifest}.8-0123abcd.tmp",  # a draft of a draft, as `create` writes it
        f".cache/rendered/.{'a' * 32}.bin.5-0123abcd.tmp",
    ]
    young = f".{shard}.4712-0123abcd.tmp"
    foreign = [".notes.tmp", ".mine.txt.4711-0123abcd.tmp", ".index/.swap.tmp"]
    for name in (*left, young, *foreign):
        (out / name).write_bytes(b"half")
    for name in (*left, *foreign):
        os.utime(out / name, (0, 0))
    removals = sweep(out)
    assert {(one.kind, one.path, one.size) for one in removals} == {
        ("draft", name, 4) for name in left
    }
    assert all((out / name).exists() for name in (young, *foreign))


def test_what_it_does_not_know_stays(out: Path) -> None:
    names = [
        "notes.txt",
        "12345678.tar",
        "my-shards-00000-000.tar",
        "sub/0123abcd-00000-000.tar",
        ".index/other.npy",
        f"{FOLDER}/ledger-of-mine.parquet",
        f"{FOLDER}/shards/readme.txt",
        f"{FOLDER}/manifest-old.json",
        ".cache/surveyed/notes.arrow",
        f".cache/mine/{'0' * 32}.arrow",
    ]
    for name in names:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(b"mine")
        os.utime(out / name, (0, 0))
    sweep(out, keep=1, cache=True)
    assert [name for name in names if not (out / name).exists()] == []


def test_a_dry_run_says_what_and_removes_nothing(out: Path) -> None:
    before = state(out)
    arguments = ["gc", str(out), "--keep", "1", "--grace", "1", "--cache", "--dry-run"]
    document = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    told = CliRunner().invoke(app, arguments).stdout.splitlines()
    assert state(out) == before
    gone = {one["path"]: one["size"] for one in document["files"]}
    assert document["bytes"] == sum(gone.values())
    assert {path: Path(out, path).stat().st_size for path in gone} == gone
    assert [line.split()[2] for line in told[1 : 1 + len(gone)]] == list(gone)
    assert told[-1].endswith(f"would be removed: {out}")
    done = json.loads(CliRunner().invoke(app, [*arguments[:-1], "--json"]).stdout)
    assert done == document | {"dry_run": False}
    assert set(before) - set(state(out)) == {str(out / path) for path in gone}


def test_nothing_is_removed_where_a_manifest_cannot_be_read(out: Path) -> None:
    (out / manifest_name(1)).write_text("{}")
    before = state(out)
    with pytest.raises(ContractError, match="manifest-000001"):
        sweep(out, keep=1)
    assert {path: time for path, time in state(out).items() if ".lock" not in path} == {
        path: time for path, time in before.items() if ".lock" not in path
    }


def test_a_build_that_found_a_shard_done_which_gc_removes_says_so(tmp_path: Path) -> None:
    """The shards of a recipe that was left are found done by a build that goes back to it."""
    recipe = write_days(tmp_path)
    build_here(recipe)
    build_here(write_dated_recipe(tmp_path, policy=SMALLER))
    recipe = write_dated_recipe(tmp_path)

    def meanwhile(name: str, stage: Callable[[], R]) -> R:
        if name == "publish":
            age(tmp_path / "out", DAY_S)
            sweep(tmp_path / "out", keep=1)
        return stage()

    with pytest.raises(ContractError, match=r"\.(tar|parquet) is gone: build again"):
        build_here(recipe, run=meanwhile)
    assert read_manifest(tmp_path / "out").version == 2
    assert verify(tmp_path / "out").problems == []
    assert build_here(recipe).manifest.version == 3
    assert verify(tmp_path / "out").problems == []


def test_a_data_set_at_s3_is_swept_alike(bucket: str, tmp_path: Path) -> None:
    place = f"{bucket}/sets/dated"
    write_days(tmp_path)
    scratch = f'scratch = "{tmp_path}/scratch"'
    for policy in (QWEN, SMALLER):
        recipe = write_dated_recipe(tmp_path, policy=policy, output=place, scratch=scratch)
        build_here(recipe)
    root = folder_of(place)
    new = read_manifest(root)
    command = ["gc", place, "--grace", "0", "--keep", "1", "--cache", "--json"]
    kept = json.loads(CliRunner().invoke(app, [*command, "--grace", "1"]).stdout)
    assert kept["files"] == []
    time.sleep(1.1)  # S3 tells whole seconds
    swept = json.loads(CliRunner().invoke(app, command).stdout)
    assert {one["kind"] for one in swept["files"]} == {"manifest", "shard", "table", "cache"}
    assert {path for path, _ in root.list() if path.endswith(".tar")} == {
        shard.name for shard in new.shards
    }
    listed = json.loads(CliRunner().invoke(app, ["versions", place, "--json"]).stdout)
    assert [one["version"] for one in listed] == [2]
    assert verify(root).problems == []
    assert build_here(recipe, NoWork()).manifest == new
