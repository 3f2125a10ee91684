"""Publishing: one of two builds wins, and a crash before the pointer is repaired."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.build import Built
from pipelines.engine import NoWork
from pipelines.publish import already_published, latest, named_files, publish
from pipelines.verify import verify
from pipelines.versions import read_manifest, versions
from schemas.errors import ContractError, PublishConflictError
from schemas.manifest import FOLDER, POINTER, Manifest, manifest_name
from tests.pipelines.conftest import Recorder, build_in
from workers.storage.folder import folder_of


@pytest.fixture
def manifest(first: tuple[Path, Built], tmp_path: Path) -> Manifest:
    """A manifest to publish in `tmp_path`, where its files lie."""
    manifest = first[1].manifest.model_copy(update={"version": 0})
    (tmp_path / FOLDER).mkdir()
    for name in named_files(manifest):
        (tmp_path / name).touch()
    return manifest


def other(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"recipe_digest": "0" * 64})


def test_versions_follow_one_another(manifest: Manifest, tmp_path: Path) -> None:
    assert publish(folder_of(tmp_path), manifest, 0).version == 1
    assert already_published(folder_of(tmp_path), manifest)
    assert not already_published(folder_of(tmp_path), other(manifest))
    assert publish(folder_of(tmp_path), other(manifest), 1).version == 2
    assert versions(folder_of(tmp_path)) == [1, 2]
    assert read_manifest(tmp_path).version == 2
    assert read_manifest(tmp_path, 1) == manifest.model_copy(update={"version": 1})


def test_the_slower_of_two_builds_fails(manifest: Manifest, tmp_path: Path) -> None:
    base = latest(folder_of(tmp_path))
    publish(folder_of(tmp_path), manifest, base)
    with pytest.raises(PublishConflictError, match=r"^manifest-000001.json was published by"):
        publish(folder_of(tmp_path), other(manifest), base)
    assert read_manifest(tmp_path).recipe_digest == manifest.recipe_digest
    assert versions(folder_of(tmp_path)) == [1]


def test_a_version_that_lacks_a_shard_is_not_published(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / manifest.shards[1].name).unlink()
    with pytest.raises(ContractError, match=rf"{manifest.shards[1].name} is gone: build again$"):
        publish(folder_of(tmp_path), manifest, 0)
    assert versions(folder_of(tmp_path)) == []


def test_a_build_after_the_winner_goes_on_top_of_it(manifest: Manifest, tmp_path: Path) -> None:
    publish(folder_of(tmp_path), manifest, 0)
    with pytest.raises(PublishConflictError):
        publish(folder_of(tmp_path), other(manifest), 0)
    assert publish(folder_of(tmp_path), other(manifest), latest(folder_of(tmp_path))).version == 2


def test_a_version_without_a_pointer_is_finished(manifest: Manifest, tmp_path: Path) -> None:
    publish(folder_of(tmp_path), manifest, 0)
    publish(folder_of(tmp_path), other(manifest), 1)
    (tmp_path / POINTER).write_text(json.dumps({"version": 1}))  # as a crash leaves it
    assert not already_published(folder_of(tmp_path), other(manifest))
    assert publish(folder_of(tmp_path), other(manifest), latest(folder_of(tmp_path))).version == 2
    assert versions(folder_of(tmp_path)) == [1, 2]


def test_a_version_that_was_never_pointed_to_is_skipped(manifest: Manifest, tmp_path: Path) -> None:
    publish(folder_of(tmp_path), manifest, 0)
    (tmp_path / POINTER).unlink()
    assert publish(folder_of(tmp_path), other(manifest), latest(folder_of(tmp_path))).version == 2


def test_a_crash_before_the_pointer_is_repaired_by_the_next_build(
    copy: Path, first: tuple[Path, Built], engine: Recorder
) -> None:
    (copy / "out" / POINTER).unlink()
    (copy / "out" / "README.md").unlink()
    with pytest.raises(ContractError, match="holds no published data set"):
        verify(copy / "out")
    again = build_in(copy, engine)
    assert (again.new, again.manifest, engine.asked) == (True, first[1].manifest, {})
    assert verify(copy / "out").problems == []
    assert (copy / "out" / "README.md").exists()


def test_a_damaged_pointer_is_named(copy: Path) -> None:
    (copy / "out" / POINTER).write_text("{")
    with pytest.raises(ContractError, match=r"current\.json"):
        build_in(copy, NoWork())


def test_a_damaged_manifest_is_named(copy: Path) -> None:
    path = copy / "out" / manifest_name(1)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ContractError) as error:
        build_in(copy, NoWork())
    assert "manifest-000001.json" in str(error.value)


def test_a_damaged_manifest_is_told_in_one_line(copy: Path) -> None:
    (copy / "out" / manifest_name(1)).write_text("{}")
    with pytest.raises(ContractError) as error:
        build_in(copy, NoWork())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["README.md", ".nv-meta/.info.json"])
def test_a_lost_file_of_the_data_set_is_written_again(
    copy: Path, engine: Recorder, name: str
) -> None:
    (copy / "out" / name).unlink()
    build_in(copy, engine)
    assert (copy / "out" / name).exists()
