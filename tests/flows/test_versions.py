"""Listing versions, and going back to an earlier one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from pipelines.verify import verify
from pipelines.versions import read_manifest
from tests.flows.dated import SMALLER, build_here, write_dated_recipe, write_day, write_days


def flows(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose second version has a day more."""
    folder = tmp_path_factory.mktemp("versions")
    recipe = write_days(folder)
    build_here(recipe)
    write_day(folder, "2026-01-04")
    build_here(recipe)
    return folder / "out"


def test_versions_are_listed(two_versions: Path) -> None:
    listed = json.loads(flows("versions", two_versions, "--json").stdout)
    assert [(one["version"], one["partitions"], one["samples"]) for one in listed] == [
        (1, 3, 18),
        (2, 4, 24),
    ]
    assert [one["published"] for one in listed] == [False, True]
    manifest = read_manifest(two_versions)
    assert listed[1]["bytes"] == sum(shard.size for shard in manifest.shards)
    assert listed[1]["recipe"] == manifest.recipe_digest
    lines = flows("versions", two_versions).stdout.splitlines()
    assert lines[0].split() == ["version", "partitions", "samples", "shards", "bytes", "recipe"]
    assert lines[2].split()[:3] == ["2", "published", "4"]


def test_an_earlier_version_is_published_again_and_the_newest_too(two_versions: Path) -> None:
    for version, days in ((1, 3), (2, 4)):
        result = flows("publish", two_versions, "--version", str(version))
        assert result.stdout.splitlines()[-1] == f"version {version} is published: {two_versions}"
        assert len(read_manifest(two_versions).partitions) == days
        assert verify(two_versions).problems == []
        info = json.loads((two_versions / ".nv-meta/.info.json").read_text())
        assert len(info["shard_counts"]) == len(read_manifest(two_versions).shards)


def test_a_version_that_is_not_there_is_told(two_versions: Path) -> None:
    result = flows("publish", two_versions, "--version", "7")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: {two_versions} has no version 7, but [1, 2]\n"


def test_a_version_that_lost_a_shard_is_not_published(tmp_path: Path) -> None:
    recipe = write_days(tmp_path)
    lost = build_here(recipe).manifest.shards[0].name
    build_here(write_dated_recipe(tmp_path, policy=SMALLER))
    (tmp_path / "out" / lost).unlink()
    result = flows("publish", tmp_path / "out", "--version", "1")
    assert result.exit_code == 1
    assert result.stderr == f"error: {tmp_path}/out/{lost} is gone: version 1 lacks it\n"
    assert read_manifest(tmp_path / "out").version == 2


def test_a_build_after_a_rollback_publishes_what_the_recipe_says(tmp_path: Path) -> None:
    recipe = write_days(tmp_path)
    build_here(recipe)
    write_day(tmp_path, "2026-01-04")
    build_here(recipe)
    flows("publish", tmp_path / "out", "--version", "1")
    again = build_here(recipe)
    assert (again.new, again.manifest.version) == (True, 2)


@pytest.mark.parametrize("command", ["versions", "gc"])
def test_a_folder_without_a_data_set_is_told(tmp_path: Path, command: str) -> None:
    result = flows(command, tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: {tmp_path} holds no data set\n"
