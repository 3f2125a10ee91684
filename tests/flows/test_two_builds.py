"""Two builds of one data set at once: one publishes, the other says so and can be run again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from pipelines.verify import verify
from pipelines.versions import read_manifest, versions
from schemas.errors import PublishConflictError
from tests.flows.dated import QWEN, SMALLER, build_here, write_dated_recipe, write_days
from workers.storage.folder import folder_of

ROOT = Path(__file__).parents[2]
R = TypeVar("R")


def test_the_slower_of_two_builds_fails_and_goes_on_top_when_run_again(tmp_path: Path) -> None:
    first = write_days(tmp_path)
    first = first.rename(tmp_path / "first.toml")
    second = write_dated_recipe(tmp_path, policy=SMALLER)

    def meanwhile(name: str, stage: Callable[[], R]) -> R:
        if name == "publish":
            assert build_here(second).manifest.version == 1
        return stage()

    with pytest.raises(PublishConflictError, match="was published by another build while this"):
        build_here(first, run=meanwhile)
    assert versions(folder_of(tmp_path / "out")) == [1]
    assert read_manifest(tmp_path / "out").recipe["policy"][0]["max_pixels"] == 3136
    assert verify(tmp_path / "out").problems == []
    assert build_here(first).manifest.version == 2


GATED = """
import sys, time
from pathlib import Path
import flows.build
from flows.cli import app

ready, gate, *arguments = sys.argv[1:]
as_task = flows.build.as_task

def gated(name, stage):
    if name == "publish":
        Path(ready).touch()
        while not Path(gate).exists():
            time.sleep(0.02)
    return as_task(name, stage)

flows.build.as_task = gated
app(arguments)
"""
"""The command, which waits before it publishes until a file is there."""


@contextmanager
def gated_build(folder: Path, name: str, policy: str) -> Iterator[subprocess.Popen[str]]:
    """A build in a process of its own, into the same data set as the others of this folder."""
    recipe = write_dated_recipe(folder, policy=policy).rename(folder / f"{name}.toml")
    arguments = [str(folder / f"{name}.ready"), str(folder / "gate"), "build", str(recipe)]
    own = {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(folder / f"{name}-home")}
    own["PREFECT_LOGGING_LEVEL"] = "CRITICAL"  # as the command sets it, before it imports Prefect
    process = subprocess.Popen(
        [sys.executable, "-c", GATED, *arguments, "--workers", "1"],
        env=os.environ | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_two_processes_that_build_at_once_one_publishes_and_one_says_why_not(
    tmp_path: Path,
) -> None:
    write_days(tmp_path)
    with (
        gated_build(tmp_path, "first", QWEN) as one,
        gated_build(tmp_path, "second", SMALLER) as two,
    ):
        while not all((tmp_path / f"{name}.ready").exists() for name in ("first", "second")):
            ended = [process.communicate() for process in (one, two) if process.poll() is not None]
            assert ended == []
            time.sleep(0.1)
        (tmp_path / "gate").touch()
        ends = [(*process.communicate(timeout=240), process.returncode) for process in (one, two)]
    assert sorted(status for _, _, status in ends) == [0, 1], ends
    [failed] = [errors for _, errors, status in ends if status]
    assert failed.splitlines()[-1] == (
        "error: manifest-000001.json was published by another build while this one ran; "
        "run it again on top of that version"
    )
    assert versions(folder_of(tmp_path / "out")) == [1]
    assert verify(tmp_path / "out").problems == []
