"""The command in processes of its own: against a Prefect server, and where a build fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.prefect_server import ask, prefect_server
from tests.tiny_source import write_recipe, write_source

ROOT = Path(__file__).parents[2]

STAGES = ("survey", "tokenize", "size", "pack")

pytestmark = pytest.mark.slow


def cli(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(folder / "home"), **environment}
    command = [sys.executable, "-m", "flows", *arguments]
    return subprocess.run(
        command, env={**os.environ, **own}, cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_real_server_lists_the_run(tmp_path: Path) -> None:
    records = write_source(tmp_path / "source", bad=True)
    write_recipe(tmp_path / "recipe.toml", Path("out"), {"tiny": records})
    with prefect_server(tmp_path) as api:
        done = cli(tmp_path, "build", "recipe.toml", "--workers", "2", PREFECT_API_URL=api)
        assert done.returncode == 0, done.stderr
        runs = ask(api, "flow_runs/filter", {})
    assert [(run["name"], run["state_type"]) for run in runs] == [
        ("build recipe.toml", "COMPLETED")
    ]


def test_a_failure_in_the_flow_is_one_line(tmp_path: Path) -> None:
    records = write_source(tmp_path / "source", bad=True)
    write_recipe(tmp_path / "recipe.toml", Path("out"), {"tiny": records}, max_drop_ratio=0.01)
    done = cli(tmp_path, "build", "recipe.toml", "--workers", "2")
    assert (done.returncode, done.stdout) == (1, "")
    *progress, last = done.stderr.splitlines()
    assert last.startswith("error: partition 0: 2 of 24 samples would be dropped (")
    assert [line for line in progress if line.partition(":")[0] not in STAGES] == []
