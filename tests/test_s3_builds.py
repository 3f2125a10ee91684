"""Builds at S3 as a user starts them: on Ray, killed, refused, and without a trace of secrets."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipelines.versions import read_manifest
from schemas.manifest import Manifest
from tests.s3_server import SECRET, copy_tree, s3_server, settings, use
from tests.tiny_source import digests, write_recipe, write_source
from tests.workers.storage.faulty_proxy import FaultyProxy, Spoiled, upload
from workers.storage.folder import Folder, folder_of

ROOT = Path(__file__).parents[1]
BUCKET = "s3://a-bucket"
POINTS = ["/.cache/surveyed/", "/.cache/rendered/", ".tar", "/.patchpack/manifest-"]
"""Builds are killed when they write there for the first time."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A short path, since Ray's sockets lie below it."""
    folder = Path(tempfile.mkdtemp(prefix="pp-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def _running(home: Path) -> Iterator[FaultyProxy]:
    with s3_server() as proxy, pytest.MonkeyPatch.context() as patch:
        use(proxy, patch)
        upload(proxy, "a-bucket")
        write_source(home / "source", 50, times=3, bad=True)
        copy_tree(home / "source", folder_of(f"{BUCKET}/source"))
        yield proxy


@pytest.fixture
def proxy(_running: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> FaultyProxy:
    return use(_running, monkeypatch)


@pytest.fixture(scope="module")
def on_disk(home: Path) -> Manifest:
    """The build with nothing at S3."""
    process = start(home, f"{home}/source", f"{home}/out", {})
    finish(process, home)
    return read_manifest(home / "out")


def start(
    home: Path, source: str, output: str, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """A build in a process group of its own."""
    recipe = write_recipe(
        home / "recipe.toml", output, {"tiny": f"{source}/records.jsonl"}, max_tokens=2048
    )
    recipe.write_text(f"{recipe.read_text()}scratch = '{home}/scratch'\n")
    own = {"PYTHONPATH": str(ROOT), "PREFECT_HOME": f"{home}/prefect", "RAY_TMPDIR": str(home)}
    bare = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.Popen(
        [sys.executable, "-m", "flows", "build", recipe.name, "--workers", "2"],
        env={**bare, **own, **environment},
        cwd=home,
        stdout=(home / "told").open("ab"),
        stderr=(home / "errors").open("wb"),
        start_new_session=True,
    )


def finish(process: subprocess.Popen[bytes], home: Path) -> None:
    assert process.wait(600) == 0, (home / "errors").read_text()


def command(home: Path, proxy: FaultyProxy, *words: str) -> str:
    """What a command says that ends well."""
    done = subprocess.run(
        [sys.executable, "-m", "flows", *words],
        env={**os.environ, **settings(proxy), "PYTHONPATH": str(ROOT)},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def at_s3(home: Path, proxy: FaultyProxy, output: str) -> subprocess.Popen[bytes]:
    return start(home, f"{BUCKET}/source", output, settings(proxy))


def test_ray_workers_reach_s3_and_secrets_stay_in_the_environment(
    home: Path, proxy: FaultyProxy, on_disk: Manifest
) -> None:
    output = f"{BUCKET}/whole"
    finish(at_s3(home, proxy, output), home)
    out = folder_of(output)
    assert read_manifest(out) == on_disk
    assert json.loads(command(home, proxy, "verify", output, "--json"))["ok"]
    told = command(home, proxy, "explain", output, "tiny/s0001", "--extract", "parts", "--json")
    assert json.loads(told)["sample"] == "tiny/s0001"
    assert (home / "parts" / "header.json").exists()
    again = at_s3(home, proxy, output)
    finish(again, home)
    assert b"nothing to do" in (home / "told").read_bytes()
    assert traces(home, out) == []


def traces(home: Path, out: Folder) -> list[str]:
    """Files that hold the secret: of Ray, Prefect, the commands, scratch space and the data set."""
    secret = SECRET.encode()
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any("logs" in path.parts for path in files)
    found = [str(path) for path in files if secret in path.read_bytes()]
    return found + [name for name, _ in out.list() if secret in out.read_whole(name)]


def test_a_build_that_is_killed_goes_on_to_the_same_bytes(
    home: Path, proxy: FaultyProxy, on_disk: Manifest
) -> None:
    output = f"{BUCKET}/killed"
    for point in POINTS:
        proxy.reset()
        process = at_s3(home, proxy, output)
        while not any(one.startswith("PUT") and point in one for one in list(proxy.asked)):
            assert process.poll() is None, (home / "errors").read_text()
            time.sleep(0.005)
        kill(process)
    proxy.reset()
    finish(at_s3(home, proxy, output), home)
    assert digests(read_manifest(folder_of(output))) == digests(on_disk)
    assert json.loads(command(home, proxy, "verify", output, "--json"))["ok"]
    assert list((home / "scratch" / "drafts").glob("*")) == []
    assert list((home / "scratch").glob("*.tmp")) == []


def kill(process: subprocess.Popen[bytes]) -> None:
    """The driver first, then what it leaves of Ray and Prefect."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for child in family:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(family, timeout=30)


def test_a_fault_that_stays_is_one_line(home: Path, proxy: FaultyProxy, on_disk: Manifest) -> None:
    output = f"{BUCKET}/refused"
    proxy.always = Spoiled("status", 403, "AccessDenied", methods="PUT", path="/rendered/")
    assert at_s3(home, proxy, output).wait(600) == 1
    told = (home / "errors").read_text().splitlines()
    [line] = [line for line in told if line.startswith("error: ")]
    assert line.startswith(f"error: {output}/.cache/rendered/")
    assert line.endswith("no permission, the server answered 403 AccessDenied")
    assert folder_of(output).list(".cache/rendered") == []
    proxy.reset()
    finish(at_s3(home, proxy, output), home)
    assert [one for one in proxy.asked if one.startswith("PUT") and "/surveyed/" in one] == []
    assert digests(read_manifest(folder_of(output))) == digests(on_disk)


def test_the_example_of_the_manual_runs(home: Path, proxy: FaultyProxy) -> None:
    del proxy  # no setting of this process
    manual = (ROOT / "docs" / "storage.md").read_text()
    [example] = re.findall(r"```sh\n(.*?)```", manual, re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    folder = home / "manual"
    folder.mkdir()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONPATH": str(ROOT), "PREFECT_HOME": f"{home}/prefect"}
    with (folder / "told").open("wb") as told:
        process = subprocess.Popen(
            ["bash", "-e", "-c", example.replace("9000", port)],
            cwd=folder,
            env={**os.environ, **own, "RAY_TMPDIR": str(home)},
            stdout=told,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        assert process.wait(600) == 0, (folder / "told").read_text()
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the server
    lines = (folder / "told").read_text()
    assert "every check passed" in lines
    assert "nothing to do" in lines
    assert (folder / "coffee" / "header.json").exists()
