"""The command in processes of its own: against a Prefect server, and where a build fails."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_source import write_recipe, write_source

ROOT = Path(__file__).parents[2]

STAGES = ("survey", "tokenize", "size", "pack")

pytestmark = pytest.mark.slow


@pytest.fixture
def api(tmp_path: Path) -> Iterator[str]:
    """The address of a Prefect server on a free port of the loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env={**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}/api"
        _wait(lambda: urllib.request.urlopen(f"{url}/health").status == 200)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _wait(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end:
        try:
            if ready():
                return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.5)
    raise TimeoutError


def cli(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(folder / "home"), **environment}
    command = [sys.executable, "-m", "flows", *arguments]
    return subprocess.run(
        command, env={**os.environ, **own}, cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_real_server_lists_the_run(api: str, tmp_path: Path) -> None:
    records = write_source(tmp_path / "source", bad=True)
    write_recipe(tmp_path / "recipe.toml", Path("out"), {"tiny": records})
    done = cli(tmp_path, "build", "recipe.toml", "--workers", "2", PREFECT_API_URL=api)
    assert done.returncode == 0, done.stderr
    request = urllib.request.Request(
        f"{api}/flow_runs/filter", b"{}", {"Content-Type": "application/json"}
    )
    runs: list[dict[str, Any]] = json.load(urllib.request.urlopen(request))
    assert [(run["name"], run["state_type"]) for run in runs] == [
        ("build recipe.toml", "COMPLETED")
    ]


def test_a_failure_in_the_flow_is_one_line(tmp_path: Path) -> None:
    records = write_source(tmp_path / "source", bad=True)
    write_recipe(tmp_path / "recipe.toml", Path("out"), {"tiny": records}, max_drop_ratio=0.01)
    done = cli(tmp_path, "build", "recipe.toml", "--workers", "2")
    assert (done.returncode, done.stdout) == (1, "")
    *progress, last = done.stderr.splitlines()
    assert last.startswith("error: 2 of 24 samples would be dropped (")
    assert [line for line in progress if line.partition(":")[0] not in STAGES] == []
