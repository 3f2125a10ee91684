"""How much memory a piece of code takes, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def growth_mib(setup: str, code: str) -> float:
    """Most resident memory of `code` beyond that after `setup`, in MiB."""
    peak = "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
    script = f"import resource\n{setup}\nbefore = {peak}\n{code}\nprint({peak} - before)\n"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1]) / 1024
