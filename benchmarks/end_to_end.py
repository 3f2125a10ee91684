"""A whole build beside the plain script that it replaces, in one run.

    python -m benchmarks.end_to_end --opponent plain_pipeline.py [--source 'DIR/*.tar'] [--save]

The opponent is a script that takes `--source GLOB --policy qwen2_vl --procs N --out DIR` and ends
with a JSON line that has `samples`, `wall` and `stages` (seconds by name, `load` for its start-up).
Ours is taken twice for each payload:
- as a user sees it: `python -m flows build` from its start to its end, against the opponent's
  process from its start to its end;
- the work alone: the same build through the same stages on a Ray that is warm, against the
  opponent's stages without `load`.
Every build goes into a fresh folder. What start-up takes is printed apart.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.kit.builds import Warm, fresh_recipe, start_up, warm_ray
from benchmarks.kit.records import records_for
from benchmarks.kit.report import Target, arguments, report, say, work_folder
from benchmarks.kit.timing import FLOWS, PYTHON, Ran, StageTimes, run, timed
from benchmarks.kit.watch import Watch
from benchmarks.source import Wanted, tars_for
from pipelines.build import build
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from pipelines.versions import read_manifest
from schemas.manifest import Manifest

TARGETS = {"pixels": 2.5, "source": 12.0}


@dataclass(frozen=True)
class Given:
    """What all rounds share."""

    work: Path
    root: Path  # of the tars
    pattern: str  # of the tars
    records: Path
    few: Path  # the first records, to warm up with
    opponent: Path
    processes: int


@dataclass(frozen=True)
class Work:
    """A build without start-up."""

    seconds: float
    cpu_seconds: float
    stages: Mapping[str, float]
    manifest: Manifest


@dataclass(frozen=True)
class Round:
    """Every side once."""

    opponent: Ran
    told: Mapping[str, Any]  # the opponent's own account
    command: Mapping[str, Ran]
    work: Mapping[str, Work]
    warm: Warm

    @property
    def opponent_work(self) -> float:
        """Seconds of the opponent's stages without its start-up."""
        return float(self.told["wall"]) - float(self.told["stages"]["load"][0])


def one_round(given: Given) -> Round:
    """The opponent, our commands, and our work on a warm Ray."""
    opponent = _opponent(given)
    told = json.loads(opponent.out.splitlines()[-1])
    say(f"opponent: {opponent.seconds:.1f} s, {told['samples']} samples")
    command = {payload: _command(given, payload) for payload in TARGETS}
    with warm_ray(given.processes) as warm:
        _work(given, warm, "pixels", given.few)  # compiles the packing kernel, loads tokenizers
        work = {payload: _work(given, warm, payload, given.records) for payload in TARGETS}
    return Round(opponent, told, command, work, warm)


def _opponent(given: Given) -> Ran:
    out = given.work / "opponent"
    shutil.rmtree(out, ignore_errors=True)
    options = ["--source", given.pattern, "--policy", "qwen2_vl", "--procs", str(given.processes)]
    try:
        return run([PYTHON, given.opponent, *options, "--out", out], given.work)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _command(given: Given, payload: str) -> Ran:
    recipe = _recipe(given, payload, given.records)
    ran = run([*FLOWS, "build", recipe, "--workers", str(given.processes)], given.work)
    say(f"{payload}, command: {ran.seconds:.1f} s, first stage after {ran.first_task:.1f} s")
    return ran


def _work(given: Given, warm: Warm, payload: str, records: Path) -> Work:
    recipe = load_recipe(_recipe(given, payload, records))
    stages = StageTimes()
    with Watch(os.getpid()) as watch:
        seconds = timed(lambda: build(Workshop(recipe, warm.engine), stages))
    manifest = read_manifest(Path(recipe.output.path))
    say(f"{payload}, work: {seconds:.1f} s for {manifest.ledger.packed} samples")
    return Work(seconds, watch.cpu_seconds, stages.seconds, manifest)


def _recipe(given: Given, payload: str, records: Path) -> Path:
    return fresh_recipe(given.work / "build", records=records, root=given.root, payload=payload)


def figures_of(rounds: Sequence[Round], samples: int) -> dict[str, Any]:
    """Medians over the rounds, and what start-up takes."""
    told = rounds[-1].told
    begins = [ran.first_task for one in rounds for ran in one.command.values()]
    return {
        "samples": samples,
        "opponent": {
            "seconds": median(one.opponent.seconds for one in rounds),
            "work_seconds": median(one.opponent_work for one in rounds),
            "cpu_seconds": median(one.opponent.cpu_seconds for one in rounds),
            **{name: told.get(name) for name in ("samples", "packs", "fill", "stages")},
        },
        **{payload: _ours(rounds, payload) for payload in TARGETS},
        "start_up_seconds": {"command_to_first_stage": median(begins)}
        | start_up([one.warm for one in rounds]),
    }


def _ours(rounds: Sequence[Round], payload: str) -> dict[str, Any]:
    work, commands = (
        [getattr(one, side)[payload] for one in rounds] for side in ("work", "command")
    )
    manifest: Manifest = work[-1].manifest
    part = manifest.partitions[0]
    seconds = median(one.seconds for one in commands)
    work_seconds = median(one.seconds for one in work)
    return {
        "seconds": seconds,
        "work_seconds": work_seconds,
        "cpu_seconds": median(one.cpu_seconds for one in commands),
        "work_cpu_seconds": median(one.cpu_seconds for one in work),
        "samples_per_second": manifest.ledger.seen / seconds,
        "work_samples_per_second": manifest.ledger.seen / work_seconds,
        "ratio": median(one.opponent.seconds for one in rounds) / seconds,
        "work_ratio": median(one.opponent_work for one in rounds) / work_seconds,
        "dropped": manifest.ledger.dropped,
        "packs": part.packs,
        "fill": part.balance.fill["tokens"],
        "megabytes": sum(shard.size for shard in part.shards) / 1e6,
        "stages": work[-1].stages,
        "processes": commands[-1].roles,
    }


def main() -> None:
    """Measure and report."""
    parser = arguments("A whole build beside the plain script that it replaces.", rounds=2)
    parser.add_argument("--opponent", type=Path, required=True, help="plain_pipeline.py")
    parser.add_argument("--source", help="tars, 'DIR/*.tar'; by default made here")
    parser.add_argument("--count", type=int, default=3000, help="JPEGs, where they are made here")
    parser.add_argument("--procs", type=int, default=2, help="processes of both sides")
    options = parser.parse_args()
    with work_folder(options.work) as work:
        tars = tars_for(options.source, work, Wanted(count=options.count))
        samples = records_for(tars, work / "records.jsonl")
        records_for(tars, work / "few.jsonl", 64)
        given = Given(
            work=work,
            root=tars[0].parent,
            pattern=options.source or str(tars[0].parent / "*.tar"),
            records=work / "records.jsonl",
            few=work / "few.jsonl",
            opponent=options.opponent.resolve(),
            processes=options.procs,
        )
        for tar in tars:
            tar.read_bytes()  # into the page cache
        rounds = [one_round(given) for _ in range(options.rounds)]
        shutil.rmtree(work / "build")
    figures = figures_of(rounds, samples)
    targets = [
        Target(f"{payload}, work / opponent's work", figures[payload]["work_ratio"], bound)
        for payload, bound in TARGETS.items()
    ]
    report("end_to_end", figures, targets, save=options.save)


if __name__ == "__main__":
    main()
