"""What a figure was measured on: without it no two figures can be compared."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARIES = (
    "av",
    "numpy",
    "pillow",
    "prefect",
    "pyarrow",
    "ray",
    "torch",
    "transformers",
    "webdataset",
)


def machine() -> dict[str, object]:
    """CPU, cores, memory, kernel, Python, libraries and the commit measured."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "ram_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "commit": _commit(),
    }


def busy() -> float:
    """Mean number of runnable processes over the last minute: over one core is no quiet machine."""
    return round(os.getloadavg()[0], 2)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {key.strip(): value.strip() for key, value in fields.items()}
    parts = [names.get("model name", platform.machine())]
    if "cpu family" in names and "model" in names:
        parts.append(f"family {names['cpu family']} model {names['model']}")
    return ", ".join(parts)


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()
