"""`prefect.yaml`, deployed by Prefect's own command and run by a worker of its pool."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.serving import deployment
from pipelines.versions import read_manifest
from tests.flows.dated import PARTITIONS, entries, write_days
from tests.flows.prefect_server import ask, prefect_server

ROOT = Path(__file__).parents[2]


def test_it_is_the_deployment_that_serve_registers() -> None:
    stated = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    [pooled] = stated["deployments"]
    served = deployment(ROOT / "recipes" / "demo.toml", None, "0 3 * * *", None)
    assert served.concurrency_options is not None
    assert pooled["name"] == served.name
    assert pooled["entrypoint"] == served.entrypoint
    assert pooled["description"] == served.description
    assert pooled["tags"] == served.tags
    assert pooled["concurrency_limit"] == {
        "limit": served.concurrency_limit,
        "collision_strategy": served.concurrency_options.collision_strategy.value,
    }
    assert served.parameters == {"recipe_path": str(ROOT / pooled["parameters"]["recipe_path"])}
    versions = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"prefect=={stated['prefect-version']}" in versions


def prefect(api: str, folder: Path, *arguments: str) -> None:
    """The command, at the root of the checkout, as a shell there would run it."""
    own = {"PREFECT_API_URL": api, "PREFECT_HOME": str(folder / "home"), "PWD": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | own,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_of_the_pool_builds_what_is_asked_for(tmp_path: Path) -> None:
    recipe = write_days(tmp_path)
    with prefect_server(tmp_path) as api:
        prefect(api, tmp_path, "work-pool", "create", "patchpack", "--type", "process")
        prefect(api, tmp_path, "deploy", "--all")
        found: list[dict[str, Any]] = ask(api, "deployments/filter", {})
        [deployed] = found
        assert (deployed["name"], deployed["work_pool_name"]) == ("demo", "patchpack")
        assert deployed["global_concurrency_limit"]["limit"] == 1
        assert deployed["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        [schedule] = deployed["schedules"]
        assert (schedule["schedule"]["cron"], schedule["active"]) == ("0 3 * * *", True)
        asked = ("--param", f"recipe_path={recipe}")
        prefect(api, tmp_path, "deployment", "run", "patchpack-build/demo", *asked)
        prefect(api, tmp_path, "worker", "start", "--pool", "patchpack", "--run-once")
        runs = ask(api, "flow_runs/filter", {})
        states = [run["state_name"] for run in runs if run["state_type"] != "SCHEDULED"]
    assert states == ["Completed"]
    assert list(entries(read_manifest(tmp_path / "out"))) == PARTITIONS
