"""The example trains, stops and goes on, also on another number of ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from patchpack import PackedShards
from tests.pipelines.conftest import Here, build_in
from tests.tiny_source import write_source

ROOT = Path(__file__).parents[2]
MODULE = "examples.train_qwen2vl"


Order = list[list[str]]


def order_of(data: Path, seed: int) -> Order:
    """The key of each pack, nothing for a filler."""
    packs = list(PackedShards(data, seed=seed))
    return [[] if pack.header.filler else [pack.header.key] for pack in packs]


def trained(
    data: Path, checkpoint: Path, steps: int, *, seed: int, ranks: int = 1
) -> list[dict[str, Any]]:
    """The lines of a run."""
    launch = [sys.executable, "-m"]
    if ranks > 1:
        launch += ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
    options = [str(data), "--steps", str(steps), "--checkpoint", str(checkpoint)]
    options += ["--seed", str(seed)]
    done = subprocess.run(
        [*launch, MODULE, *options, "--learning-rate", "3e-3"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.slow
def test_the_curve_goes_on_where_it_stopped(tmp_path: Path) -> None:
    write_source(tmp_path / "source", 80)
    build_in(tmp_path, Here(), policy='kind = "qwen2_vl"\nmax_pixels = 12544', max_tokens=400)
    data = tmp_path / "out"
    # one whose fifth pack is the filler that the last row has
    seed = next(seed for seed in range(1000) if order_of(data, seed)[4] == [])
    order = order_of(data, seed)
    assert [len(keys) for keys in order[:8]] == [1, 1, 1, 1, 0, 1, 1, 1]

    whole = trained(data, tmp_path / "whole.pt", 8, seed=seed)
    assert [line["packs"] for line in whole] == [keys for keys in order if keys][:8]
    assert whole[-1]["loss"] < whole[0]["loss"] - 0.5

    first = trained(data, tmp_path / "one.pt", 3, seed=seed)
    (tmp_path / "two.pt").write_bytes((tmp_path / "one.pt").read_bytes())
    assert first + trained(data, tmp_path / "one.pt", 5, seed=seed) == whole

    # of the step that the third pack was in, the fourth is left; then a filler beside the fifth
    wider = trained(data, tmp_path / "two.pt", 3, seed=seed, ranks=2)
    assert [line["packs"] for line in wider] == [order[3], order[5], order[6] + order[7]]
    for narrow, wide in zip(whole[3:5], wider, strict=False):
        assert (wide["step"], wide["tokens"]) == (narrow["step"], narrow["tokens"])
        assert wide["loss"] == pytest.approx(narrow["loss"], rel=1e-5)
