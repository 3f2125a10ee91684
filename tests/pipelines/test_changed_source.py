"""Sources that move or change, and the places that no digest holds."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from pipelines.build import Built
from pipelines.verify import verify
from schemas.errors import BuildError
from tests.pipelines.conftest import Recorder, build_in, packs_of, written
from tests.tiny_source import encoded, picture

R = TypeVar("R")

PICTURE = "source/images/s0001.png"


@dataclass
class After:
    """Runs stages as they are, and something else after one of them."""

    stage: str
    then: Callable[[], object]

    def __call__(self, name: str, stage: Callable[[], R]) -> R:
        result = stage()
        if name == self.stage:
            self.then()
        return result


@pytest.fixture
def elsewhere(first: tuple[Path, Built], tmp_path: Path) -> Path:
    """A folder with a copy of the source, and nothing built."""
    shutil.copytree(first[0] / "source", tmp_path / "elsewhere" / "source")
    return tmp_path / "elsewhere"


def test_places_and_times_are_in_no_byte(
    first: tuple[Path, Built], elsewhere: Path, engine: Recorder
) -> None:
    assert build_in(elsewhere, engine).manifest == first[1].manifest
    for path in elsewhere.glob("source/**/*.*"):
        os.utime(path)
    again, made = written(elsewhere, lambda: build_in(elsewhere, engine))
    assert (again.new, again.manifest) == (False, first[1].manifest)
    assert made == {"surveyed.arrow": 4}


def test_a_new_root_is_surveyed_again(copy: Path, elsewhere: Path, engine: Recorder) -> None:
    (elsewhere / PICTURE).write_bytes(encoded(picture(77), "png"))
    (copy / "source").unlink()
    (copy / "source").symlink_to(elsewhere / "source")
    moved, fresh = build_in(copy, engine), build_in(elsewhere, engine)
    assert moved.manifest.partitions == fresh.manifest.partitions


def test_source_payloads_are_the_bytes_of_the_files(
    first: tuple[Path, Built], copy: Path, engine: Recorder
) -> None:
    built = build_in(copy, engine, payload="source")
    assert verify(copy / "out").problems == []
    files = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path
        for path in (first[0] / "source" / "images").iterdir()
    }
    found = set()
    for pack in packs_of(copy / "out", built):
        for item, (kind, sha256) in enumerate(
            zip(pack.header.item_kind, pack.header.sha256, strict=True)
        ):
            data = pack.payloads_of(item)[0].data.tobytes()
            if kind == "image":
                assert hashlib.sha256(data).hexdigest() == sha256
                found.add(sha256)
    assert found & files.keys() == {
        digest for digest, path in files.items() if path.stem in _shown(first)
    }


def _shown(first: tuple[Path, Built]) -> set[str]:
    """Names of the picture files that a sample shows."""
    records = (first[0] / "source" / "records.jsonl").read_text()
    names = {path.stem for path in (first[0] / "source" / "images").iterdir()}
    return {name for name in names - {"cut"} if f"images/{name}.png" in records}


@pytest.mark.parametrize("payload", ["source", "pixels"])
def test_a_file_that_changes_during_a_build_stops_it(
    elsewhere: Path, engine: Recorder, payload: str
) -> None:
    path = elsewhere / PICTURE
    data = path.read_bytes()

    def change() -> None:
        path.write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])

    with pytest.raises(BuildError, match=r"images/s0001.png changed while the build read it"):
        build_in(elsewhere, engine, After("survey", change), payload=payload)
    path.write_bytes(data)
    assert build_in(elsewhere, engine, payload=payload).manifest.version == 1
    assert verify(elsewhere / "out").problems == []


@pytest.mark.parametrize("payload", ["source", "pixels"])
@pytest.mark.parametrize("change", [Path.unlink, lambda path: os.truncate(path, 50)])
def test_a_file_that_goes_during_a_build_stops_it(
    first: tuple[Path, Built],
    elsewhere: Path,
    engine: Recorder,
    payload: str,
    change: Callable[[Path], None],
) -> None:
    path = elsewhere / PICTURE
    with pytest.raises(BuildError, match=r"images/s0001.png"):
        build_in(elsewhere, engine, After("survey", lambda: change(path)), payload=payload)
    shutil.copy2(first[0] / PICTURE, path)
    again = build_in(elsewhere, engine, payload=payload)
    dropped = dict(first[1].manifest.ledger.dropped)
    if payload == "source":
        del dropped["undecodable"]  # nothing is decoded
    assert again.manifest.ledger.dropped == dropped
