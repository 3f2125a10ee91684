"""The same bytes for any number of workers, in any folder, and after any crash."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from patchpack.index import decode_index
from pipelines.versions import read_manifest
from schemas.manifest import Manifest
from tests.tiny_source import digests, write_recipe, write_source
from workers.sidefiles import index_path

ROOT = Path(__file__).parents[1]
KILLS, SEED = 5, 2223
"""This seed stops the builds in survey, plan, render, assemble and publish."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A short path, since Ray's sockets lie below it; its Ray left a stale address behind."""
    folder = Path(tempfile.mkdtemp(prefix="pp-", dir="/tmp"))
    (folder / "ray").mkdir()
    (folder / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def sources(home: Path) -> Path:
    """Two sources, so that each stage has several tasks."""
    write_source(home / "sources" / "a", 50, times=5, bad=True)
    write_source(home / "sources" / "b", 50, first=50, times=5)
    return home / "sources"


def command(home: Path, folder: Path, sources: Path, workers: int) -> subprocess.Popen[bytes]:
    """A build from this source into `folder/out`, in a process group of its own."""
    records = {name: sources / name / "records.jsonl" for name in ("a", "b")}
    recipe = write_recipe(folder / "recipe.toml", Path("out"), records, max_tokens=2048)
    own = {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(home / "prefect"), "RAY_TMPDIR": str(home)}
    return subprocess.Popen(
        [sys.executable, "-m", "flows", "build", recipe.name, "--workers", str(workers)],
        env={**os.environ, **own},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "errors").open("wb"),
        start_new_session=True,
    )


def built(process: subprocess.Popen[bytes], folder: Path) -> Manifest:
    """What a build published that ran to its end."""
    assert process.wait(600) == 0, (folder / "errors").read_text()
    verified = subprocess.run(
        [sys.executable, "-m", "flows", "verify", "--json", str(folder / "out")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert json.loads(verified.stdout)["problems"] == []
    return read_manifest(folder / "out")


@pytest.fixture(scope="module")
def reference(home: Path, sources: Path) -> Path:
    """The folder of a build that nobody disturbed."""
    built(command(home, home / "one", sources, workers=1), home / "one")
    return home / "one"


def begun(folder: Path) -> list[Path]:
    """Every file of a data set and its cache, also those under temporary names."""
    return [path for path in folder.rglob("*") if path.suffix]


def finished(folder: Path) -> list[Path]:
    """Those that have their final names."""
    return [path for path in begun(folder) if path.suffix not in (".tmp", ".draft")]


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for the build, Ray and Prefect: whoever descends from the process, all at once."""
    try:
        family = [
            psutil.Process(process.pid),
            *psutil.Process(process.pid).children(recursive=True),
        ]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        with suppress(ProcessLookupError):
            os.kill(member.pid, signal.SIGKILL)
    process.wait()


def assert_whole(folder: Path) -> None:
    """Whatever stands under a final name can be read to its end."""
    for path in finished(folder):
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".arrow":
            with pa.memory_map(str(path)) as source:
                pa.ipc.open_file(source).read_all().validate(full=True)
        elif path.suffix == ".tar":
            index = decode_index(index_path(path).read_bytes())
            assert path.stat().st_size == int(index["offset"][-1] + index["size"][-1]) + 1024


def test_folders_and_workers_do_not_show(home: Path, sources: Path, reference: Path) -> None:
    shutil.copytree(sources, home / "elsewhere" / "sources")
    folder = home / "elsewhere" / "two"
    process = command(home, folder, home / "elsewhere" / "sources", workers=2)
    assert built(process, folder) == read_manifest(reference / "out")


def test_a_build_killed_five_times_ends_in_the_same_bytes(
    home: Path, sources: Path, reference: Path
) -> None:
    folder, total = home / "killed", len(finished(reference / "out"))
    chance = random.Random(SEED)
    for files in sorted(chance.sample(range(total - 1), KILLS)):
        litter = len(begun(folder / "out")) - len(finished(folder / "out"))
        process = command(home, folder, sources, workers=2)
        while process.poll() is None and len(begun(folder / "out")) <= files + litter:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.02))
        kill(process)
        assert process.returncode == -signal.SIGKILL, (folder / "errors").read_text()
        assert_whole(folder / "out")
    after = built(command(home, folder, sources, workers=2), folder)
    wanted = read_manifest(reference / "out")
    assert digests(after) == digests(wanted)
    assert after.model_copy(update={"version": 1}) == wanted
    left = {path.relative_to(folder / "out") for path in finished(folder / "out")}
    assert {path.relative_to(reference / "out") for path in finished(reference / "out")} <= left
