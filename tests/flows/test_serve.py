"""A schedule that a real Prefect server keeps, and `serve`, which builds when it is due."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.serving import deployment
from pipelines.verify import verify
from pipelines.versions import current_version, read_manifest
from tests.flows.dated import PARTITIONS, entries, files_of, write_day, write_days
from tests.flows.prefect_server import ask, postgres, prefect_server, wait
from workers.storage.folder import folder_of

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "recipes" / "demo.toml"


def test_builds_of_one_deployment_never_overlap() -> None:
    served = deployment(DEMO, None, "0 3 * * *", None)
    assert (served.name, served.entrypoint) == ("demo", "flows.build.build_flow")
    assert served.concurrency_limit == 1
    assert served.concurrency_options is not None
    assert served.concurrency_options.collision_strategy == "CANCEL_NEW"
    assert served.parameters == {"recipe_path": str(DEMO)}
    assert set(served._parameter_openapi_schema.properties) == {
        "recipe_path",
        "partitions",
        "stages",
        "merge",
        "dry_run",
        "workers",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cron", "at three"], "--cron 'at three': no schedule, such as \"0 3 * * *\""),
        (["--cron", "0 3 * * *", "--interval", "60"], "--cron and --interval: take one of them"),
        (["--name", "a/b"], "--name 'a/b': letters, digits, spaces, and . _ - are allowed"),
    ],
)
def test_what_cannot_be_served_is_told(options: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["serve", str(DEMO), *options])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: {message}\n"


def test_without_a_server_it_says_how_to_start_one(tmp_path: Path) -> None:
    own = {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path)}
    environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"} | own
    done = subprocess.run(
        [sys.executable, "-m", "flows", "serve", str(DEMO), "--cron", "0 3 * * *"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: a schedule needs a Prefect server: run `prefect server start`, then set "
        "PREFECT_API_URL=http://127.0.0.1:4200/api\n"
    )


@pytest.fixture(params=["sqlite", "postgres"])
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        with prefect_server(tmp_path) as url:
            yield url
        return
    with postgres() as database, prefect_server(tmp_path, database) as url:
        yield url


@contextmanager
def serving(folder: Path, api: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    own = {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(folder / "home"), "PREFECT_API_URL": api}
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", "serve", "recipe.toml", *options],
            env=os.environ | own,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def runs(api: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(api, "flow_runs/filter", {"sort": "START_TIME_ASC"})
    return found


def completed(api: str) -> list[tuple[str, str]]:
    """Begin and end of the runs that are done."""
    done = (run for run in runs(api) if run["state_type"] == "COMPLETED")
    return [(run["start_time"], run["end_time"]) for run in done]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_schedule_builds_and_a_new_file_is_one_more_partition(api: str, tmp_path: Path) -> None:
    write_days(tmp_path)
    root = tmp_path / "out"
    with serving(tmp_path, api, "--interval", "15", "--name", "nightly") as process:
        wait(lambda: len(completed(api)) >= 1, 300)
        first = read_manifest(root)
        assert (first.version, list(entries(first))) == (1, PARTITIONS)
        files = {name: files_of(root, entry) for name, entry in entries(first).items()}

        write_day(tmp_path, "2026-01-04")
        wait(lambda: current_version(folder_of(root)) == 2, 300)
        second = read_manifest(root)
        assert list(entries(second)) == [*PARTITIONS, "date=2026-01-04"]
        assert {name: files_of(root, entries(second)[name]) for name in PARTITIONS} == files

        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    assert verify(root).problems == []
    times = completed(api)
    assert all(end <= start for (_, end), (start, _) in pairwise(times))
    states = {run["state_type"] for run in runs(api)}
    assert states <= {"COMPLETED", "CANCELLED", "SCHEDULED", "CANCELLING", "CRASHED"}
    [served] = ask(api, "deployments/filter", {})
    assert (served["name"], served["paused"]) == ("nightly", True)  # until it is served again
