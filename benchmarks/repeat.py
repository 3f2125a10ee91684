"""Seconds of a build that has nothing to do, as a person waits for it.

    python -m benchmarks.repeat [RECIPE] [--save]

The recipe is built once and then again and again with the same command; by default it is the demo,
made in a folder of its own. Start-up of Python counts; Ray and Prefect should not start at all.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks.kit.machine import REPOSITORY
from benchmarks.kit.report import Target, arguments, report, say, work_folder
from benchmarks.kit.timing import FLOWS, PYTHON, run
from schemas.manifest import Manifest

DEMO = REPOSITORY / "recipes" / "demo.toml"
NOTHING = "nothing to do"


def main() -> None:
    """Measure and report."""
    parser = arguments("Seconds of `python -m flows build` when there is nothing to do.", rounds=5)
    parser.add_argument("recipe", type=Path, nargs="?", help="default: the demo, made here")
    options = parser.parse_args()
    with work_folder(options.work) as work:
        folder, recipe = (Path.cwd(), options.recipe) if options.recipe else (work, DEMO)
        if not options.recipe:
            run([PYTHON, "-m", "examples.make_demo"], folder)
        command = [*FLOWS, "build", recipe]
        first = run(command, folder)
        say(f"first build: {first.seconds:.1f} s")
        again = [run(command, folder) for _ in range(options.rounds)]
        idle = run([PYTHON, "-c", "import flows.cli"], folder).seconds
        manifest = Manifest.model_validate_json(run([*command, "--json"], folder).out)
    if worked := [one.out for one in again if NOTHING not in one.out]:
        raise SystemExit(f"{len(worked)} of {len(again)} repeated builds did work:\n{worked[0]}")
    seconds = median(one.seconds for one in again)
    figures = {
        "samples": manifest.ledger.seen,
        "shards": len(manifest.shards),
        "first_seconds": first.seconds if NOTHING not in first.out else None,
        "repeated_seconds": seconds,
        "repeated_cpu_seconds": median(one.cpu_seconds for one in again),
        "import_seconds": idle,
        "processes": again[0].roles,
    }
    targets = [Target("repeated build, seconds", seconds, 15, at_most=True)]
    report("repeat", figures, targets, save=options.save)


if __name__ == "__main__":
    main()
