"""Two builds of one data set at once: one publishes, the other says so and can be run again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TypeVar

import pytest

from pipelines.verify import verify
from pipelines.versions import read_manifest, versions
from schemas.errors import PublishConflictError
from tests.flows.dated import SMALLER, build_here, write_dated_recipe, write_days
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


@contextmanager
def waiting_build(folder: Path, name: str, policy: str) -> Iterator[tuple[Gate, Process]]:
    """A build of its own process, which waits where it reads its list of samples to take down."""
    gate = folder / f"{name}.txt"
    os.mkfifo(gate)
    recipe = write_dated_recipe(folder, policy=policy, select=f'take_down = "{gate}"')
    recipe = recipe.rename(folder / f"{name}.toml")
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "build", str(recipe), "--workers", "1"],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PREFECT_HOME": str(folder / f"{name}-home"),
        },
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield gate, process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


Gate = Path
Process = subprocess.Popen[str]


def open_gates(gates: list[Gate]) -> None:
    """Wait until every build is at its gate, then let all of them go on with an empty list."""
    with ExitStack() as stack:
        writers: list[IO[str]] = [stack.enter_context(gate.open("w")) for gate in gates]
        for gate in gates:
            gate.unlink()
            gate.touch()
        assert len(writers) == len(gates)


@pytest.mark.slow
def test_of_two_processes_that_build_at_once_one_publishes_and_one_says_why_not(
    tmp_path: Path,
) -> None:
    write_days(tmp_path)
    with (
        waiting_build(tmp_path, "first", 'kind = "qwen2_vl"') as (one_gate, one),
        waiting_build(tmp_path, "second", SMALLER) as (two_gate, two),
    ):
        open_gates([one_gate, two_gate])
        ends = [(*process.communicate(timeout=240), process.returncode) for process in (one, two)]
    assert sorted(status for _, _, status in ends) == [0, 1], ends
    [failed] = [errors for _, errors, status in ends if status]
    assert failed.splitlines()[-1] == (
        "error: manifest-000001.json was published by another build while this one ran; "
        "run it again on top of that version"
    )
    assert versions(folder_of(tmp_path / "out")) == [1]
    assert verify(tmp_path / "out").problems == []
