"""Chosen partitions built again: what they share with the version before, and where they go on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

import pytest
from typer.testing import CliRunner, Result

import flows.build
from flows.cli import app
from pipelines.backfill import FOLDERS, Stage, folders_from, redoing
from pipelines.build import Built, build, call
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from pipelines.verify import verify
from pipelines.versions import read_manifest
from schemas.errors import BuildError
from tests.flows.dated import (
    DAYS,
    PARTITIONS,
    SMALLER,
    Inline,
    build_here,
    entries,
    files_of,
    write_dated_recipe,
    write_day,
    write_days,
)
from tests.tiny_source import ledger_rows

R = TypeVar("R")

ONE = PARTITIONS[1]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Of three days, built."""
    path = write_days(tmp_path)
    build_here(path)
    return path


def backfill(recipe: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["backfill", str(recipe), *options])


def redo(recipe: Path, stage: Stage, engine: Inline, only: Collection[str] = (ONE,)) -> Built:
    with redoing(Workshop(load_recipe(recipe), engine), only, [stage]) as workshop:
        return build(workshop, call, only)


def test_another_policy_for_one_partition_leaves_every_other_shard_the_same_file(
    server: None, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del server
    monkeypatch.setattr(flows.build, "RayEngine", Inline)
    root = tmp_path / "out"
    before = read_manifest(root)
    files = {name: files_of(root, entry) for name, entry in entries(before).items()}
    write_dated_recipe(tmp_path, policy=SMALLER)
    result = backfill(recipe, "--partition", ONE)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == f"shards and manifest: {root}"
    after = read_manifest(root)
    assert after.version == 2
    assert list(entries(after)) == PARTITIONS
    for name, entry in entries(after).items():
        if name == ONE:
            assert files_of(root, entry).keys().isdisjoint(files[name])
        else:
            assert entry == entries(before)[name]
            assert files_of(root, entry) == files[name]
    assert entries(after)[ONE].tokens < entries(before)[ONE].tokens
    assert after.older_recipes.keys() == {before.recipe_digest}
    assert verify(root).problems == []
    assert read_manifest(root, 1) == before
    assert files_of(root, entries(before)[ONE]) == files[ONE]
    again = backfill(recipe, "--partition", ONE)
    assert again.stdout.splitlines()[-1].startswith("version 2 stands")


def test_without_a_partition_they_are_listed(recipe: Path) -> None:
    result = backfill(recipe)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "error: name partitions to build again with --partition: "
        f"version 1 has {', '.join(PARTITIONS)}\n"
    )


def test_before_anything_is_published_there_is_nothing_to_backfill(tmp_path: Path) -> None:
    result = backfill(write_days(tmp_path))
    assert result.exit_code == 1
    assert result.stderr == f"error: {tmp_path}/out holds no published data set\n"


def test_what_is_not_published_is_no_backfill(
    server: None, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del server
    monkeypatch.setattr(flows.build, "RayEngine", Inline)
    write_day(tmp_path, "2026-01-04")
    result = backfill(recipe, "--partition", "date=2026-01-04")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        f"error: partition 'date=2026-01-04': there are {', '.join(PARTITIONS)}"
    )


def test_ids_of_earlier_partitions_count_as_in_a_whole_build(tmp_path: Path) -> None:
    recipe = write_days(tmp_path)
    write_day(tmp_path, DAYS[1], names=["twice", "later"])
    write_day(tmp_path, DAYS[0], names=["twice"])
    write_day(tmp_path, DAYS[2], names=["later"])
    whole = build_here(recipe).manifest
    assert whole.ledger.dropped == {"duplicate_id": 2}
    engine = Inline()
    for only in ([ONE], [PARTITIONS[2]], PARTITIONS[:2]):
        again = build_here(recipe, engine, only=only)
        assert (again.new, again.manifest) == (False, whole)
    assert engine.made == {}


def test_a_backfill_does_not_need_the_files_of_other_partitions(
    recipe: Path, tmp_path: Path
) -> None:
    before = read_manifest(tmp_path / "out")
    (tmp_path / "source" / PARTITIONS[0] / "records.jsonl").unlink()
    write_dated_recipe(tmp_path, policy=SMALLER)
    after = build_here(recipe, only=[ONE]).manifest
    assert entries(after)[PARTITIONS[0]] == entries(before)[PARTITIONS[0]]
    rows = ledger_rows(tmp_path / "out", after)
    assert rows["daily/2026-01-01-0"]["partition"] == PARTITIONS[0]
    assert verify(tmp_path / "out").problems == []


def test_stages_follow_one_another() -> None:
    names = list(FOLDERS)
    assert folders_from(["survey"]) == {folder for name in names for folder in FOLDERS[name]}
    assert folders_from(["render"]) == {"addressed", "rendered", "assembled"}
    assert folders_from(["assemble", "pack"]) == folders_from(["pack"])
    assert folders_from([]) == set()


@pytest.mark.parametrize(
    ("stage", "made"),
    [
        ("survey", {"run_survey": 1, "run_tokenize": 1, "run_render": 1, "run_assemble": 2}),
        ("tokenize", {"run_tokenize": 1, "run_render": 1, "run_assemble": 2}),
        ("pack", {"run_render": 1, "run_assemble": 2}),
        ("assemble", {"run_assemble": 2}),
    ],
)
def test_from_a_stage_on_all_of_the_partition_is_made_again_to_the_same_bytes(
    recipe: Path, tmp_path: Path, stage: Stage, made: dict[str, int]
) -> None:
    root = tmp_path / "out"
    before = read_manifest(root)
    files = {name: files_of(root, entry) for name, entry in entries(before).items()}
    engine = Inline()
    again = redo(recipe, stage, engine)
    assert (again.new, again.manifest, engine.made) == (False, before, made)
    assert files_of(root, entries(before)[ONE]) != files[ONE]
    assert {name: files_of(root, entries(before)[name]) for name in files if name != ONE} == {
        name: found for name, found in files.items() if name != ONE
    }
    assert list((root / ".cache" / "redo").iterdir()) == []


def test_a_damaged_payload_is_made_again(recipe: Path, tmp_path: Path) -> None:
    """A container that no longer holds what was written there, which nothing checks."""
    root = tmp_path / "out"
    for path in (root / ".cache" / "rendered").glob("*.bin"):
        path.write_bytes(bytes(len(path.read_bytes())))
        written = path.stat().st_mtime
        os.utime(path, (written - 1, written - 1))  # a file system may date two writes alike
    shard = entries(read_manifest(root))[ONE].shards[0].name
    whole = (root / shard).read_bytes()
    (root / shard).unlink()
    redo(recipe, "render", Inline())
    assert (root / shard).read_bytes() == whole


def test_a_stopped_backfill_goes_on_where_it_was(recipe: Path) -> None:
    stopped, second = Inline(), Inline()

    def stop(name: str, stage: Callable[[], R]) -> R:
        if name.startswith("assemble"):
            raise BuildError("stopped")
        return stage()

    with (
        pytest.raises(BuildError, match="stopped"),
        redoing(Workshop(load_recipe(recipe), stopped), [ONE], ["survey"]) as workshop,
    ):
        build(workshop, stop, [ONE])
    assert stopped.made == {"run_survey": 1, "run_tokenize": 1, "run_render": 1}
    redo(recipe, "survey", second)
    assert second.made == {"run_assemble": 2}
    third = Inline()
    redo(recipe, "survey", third)
    assert third.made == stopped.made | second.made


def test_stages_without_partitions_are_made_again_for_all(recipe: Path) -> None:
    engine = Inline()
    redo(recipe, "render", engine, only=[])
    assert engine.made == {"run_render": 3, "run_assemble": 6}


def test_the_stage_is_an_option_of_the_command(
    server: None, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del server
    engine = Inline()
    monkeypatch.setattr(flows.build, "RayEngine", lambda _: engine)
    result = backfill(recipe, "--partition", ONE, "--stage", "assemble", "--json")
    assert json.loads(result.stdout)["version"] == 1
    assert engine.made == {"run_assemble": 2}
    wrong = backfill(recipe, "--partition", ONE, "--stage", "publish")
    assert wrong.exit_code == 2
    assert "'assemble'" in wrong.stderr


def test_compact_makes_neighbours_one(
    server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del server
    monkeypatch.setattr(flows.build, "RayEngine", Inline)
    recipe = str(write_days(tmp_path))
    assert CliRunner().invoke(app, ["build", recipe]).exit_code == 0
    result = CliRunner().invoke(app, ["compact", recipe, PARTITIONS[0], PARTITIONS[-1]])
    assert result.exit_code == 0, result.stderr
    [entry] = read_manifest(tmp_path / "out").partitions
    assert entry.merged == PARTITIONS
