"""Clocks: commands from their start to their end, stages of a build, functions in turn."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, TypeVar

from benchmarks.kit.machine import REPOSITORY
from benchmarks.kit.report import say
from benchmarks.kit.watch import Watch

R = TypeVar("R")

PYTHON = sys.executable
FLOWS = (PYTHON, "-m", "flows")
TASK_LINE = re.compile(r"\w+: \d+ of \d+$")
"""What the command line prints when a stage begins."""


@dataclass(frozen=True)
class Ran:
    """A command that ended well."""

    seconds: float
    cpu_seconds: float
    out: str
    first_task: float  # seconds until the first line of a stage; NaN where there was none
    roles: Mapping[str, Mapping[str, float]]  # processes, CPU seconds, peak memory


@dataclass
class StageTimes:
    """Runs the stages of a build as they are, and keeps their seconds by name."""

    seconds: dict[str, float] = field(default_factory=dict)

    def __call__(self, name: str, stage: Callable[[], R]) -> R:
        """What the stage returns."""
        began = time.perf_counter()
        try:
            return stage()
        finally:
            spent = time.perf_counter() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + spent


def timed(work: Callable[[], object]) -> float:
    """The seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def cpu_seconds(work: Callable[[], object]) -> float:
    """What this process needs for it, whatever else runs; to throw the result away is not in it."""
    began = time.process_time()
    result = work()
    spent = time.process_time() - began
    del result
    return spent


def in_turn(rounds: int, sides: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """The figures of each side, the sides one after another in each round: A B A B …"""
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            figures[name].append(side())
            say(f"round {number + 1} of {rounds}, {name}: {figures[name][-1]:.4g}")
    return figures


def medians(figures: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each side."""
    return {name: median(values) for name, values in figures.items()}


def run(command: Sequence[str | Path], cwd: Path, *, memory: bool = False) -> Ran:
    """Run a command in a folder, with the repository importable; fails with the end of its errors.

    Wall seconds count from before the process starts until after it has ended.
    """
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    lines: list[tuple[float, str]] = []
    began = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as out,
        subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": path},
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        Watch(process.pid, 0.25 if memory else 0.5, memory=memory) as watch,
    ):
        assert process.stderr is not None
        reader = threading.Thread(target=_follow, args=(process.stderr, began, lines), daemon=True)
        reader.start()
        code = process.wait()
        seconds = time.perf_counter() - began
        reader.join(5)
        out.seek(0)
        told = out.read()
    if code:
        tail = "".join(line for _, line in lines[-20:])
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{tail}")
    first_task = next((when for when, line in lines if TASK_LINE.match(line)), float("nan"))
    return Ran(seconds, watch.cpu_seconds, told, first_task, watch.roles())


def _follow(stream: IO[str], began: float, lines: list[tuple[float, str]]) -> None:
    """Note each line with the seconds since `began`."""
    lines.extend((time.perf_counter() - began, line) for line in stream)


@contextmanager
def one_core() -> Iterator[int]:
    """This process on one core while the block lasts; its number."""
    before = os.sched_getaffinity(0)
    core = max(before)
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)
