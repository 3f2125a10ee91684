"""The options that every benchmark has, and the one JSON line that it ends with."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import floor, log10
from pathlib import Path

from benchmarks.kit.machine import REPOSITORY, busy, machine

RESULTS = REPOSITORY / "benchmarks" / "results"

_BUSY_BEFORE = busy()


@dataclass(frozen=True)
class Target:
    """What a figure should be: at least, or at most, `bound`."""

    what: str
    got: float
    bound: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether it is."""
        return self.got <= self.bound if self.at_most else self.got >= self.bound


def arguments(description: str, rounds: int | None = 3) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks share; no `rounds` where one run is all."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--work",
        type=Path,
        help="folder for what is made on the way, kept for the next run; "
        "by default a temporary one, removed at the end",
    )
    if rounds:
        parser.add_argument(
            "--rounds", type=int, default=rounds, help=f"A B A B …; medians count ({rounds})"
        )
    parser.add_argument(
        "--save", action="store_true", help="write benchmarks/results/<name>.json too"
    )
    return parser


@contextmanager
def work_folder(given: Path | None) -> Iterator[Path]:
    """An absolute folder to work in; a temporary one is removed at the end."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
        return
    made = Path(tempfile.mkdtemp(prefix="patchpack-bench-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def say(text: str) -> None:
    """A line for whoever waits, on standard error."""
    print(text, file=sys.stderr, flush=True)


def report(
    name: str, figures: Mapping[str, object], targets: Sequence[Target], *, save: bool
) -> None:
    """Say which targets are met, print the figures as one JSON line, and keep them if asked to."""
    for target in targets:
        sign = "<=" if target.at_most else ">="
        verdict = "met" if target.met else "MISSED"
        say(f"{target.what}: {rounded(target.got)}, wanted {sign} {target.bound}: {verdict}")
    checked = {
        target.what: {
            "got": target.got,
            "at_most" if target.at_most else "at_least": target.bound,
            "met": target.met,
        }
        for target in targets
    }
    result = {"benchmark": name, **figures, "targets": checked, "load_before": _BUSY_BEFORE}
    print(json.dumps(rounded(result)), flush=True)
    if save:
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps({**_object(rounded(result)), "machine": machine()}, indent=1)
        (RESULTS / f"{name}.json").write_text(text + "\n")


def rounded(value: object) -> object:
    """The value with every float at four significant digits."""
    if isinstance(value, float):
        digits = 3 - floor(log10(abs(value))) if value else 0
        return round(value, max(digits, 0))
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def _object(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value
