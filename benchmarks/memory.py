"""Peak memory of every process of a build over a source of many gigabytes.

    python -m benchmarks.memory [--gigabytes 10] [--save]

Tars of a few thousand different JPEGs are hard-linked under as many names as it takes, each with
its own records, so that the source takes no more disk than its first copy. Three builds, each a
command of its own whose processes are watched every 0.25 s: `source` over a tenth, `source` over
all (its shards are as big as the source: that much disk is needed, and freed), and `pixels` over a
tenth. RSS is the kernel's own peak and counts shared and memory-mapped pages; PSS is sampled and
divides shared pages among those who share them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from math import ceil
from pathlib import Path

from benchmarks.kit.builds import fresh_recipe
from benchmarks.kit.records import records_for
from benchmarks.kit.report import Target, arguments, report, say, work_folder
from benchmarks.kit.timing import FLOWS, run
from benchmarks.source import Wanted, make_source
from pipelines.versions import read_manifest

WORKER_MIB = 1536
PIXELS_GROW = 2.5
"""Bytes of a payload for one of the source, at most: quality 95 without chroma subsampling."""


@dataclass(frozen=True)
class Case:
    """One build to watch."""

    name: str
    payload: str
    tars: Sequence[Path]

    @property
    def gigabytes(self) -> float:
        """Size of its source."""
        return sum(tar.stat().st_size for tar in self.tars) / 1e9


def links_of(tars: Sequence[Path], folder: Path, gigabytes: float) -> list[Path]:
    """Hard links of the tars in turn, as many as make up the size."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    size = sum(tar.stat().st_size for tar in tars)
    count = max(1, ceil(gigabytes * 1e9 / (size / len(tars))))
    links = []
    for number, tar in enumerate(islice(cycle(tars), count)):
        links.append(folder / f"{number:06d}.tar")
        os.link(tar, links[-1])
    return links


def check_disk(folder: Path, gigabytes: float) -> None:
    """Fail now rather than in the middle."""
    free = shutil.disk_usage(folder).free / 1e9
    if free < gigabytes:
        raise SystemExit(f"{folder} has {free:.1f} GB free, {gigabytes:.1f} GB are needed")


def watched(case: Case, work: Path, workers: int | None) -> dict[str, object]:
    """The figures of one build; nothing of it stays."""
    folder, records = work / "build", work / "records.jsonl"
    count = records_for(case.tars, records)
    recipe = fresh_recipe(folder, records=records, root=case.tars[0].parent, payload=case.payload)
    say(f"{case.name}: {count} samples, {case.gigabytes:.2f} GB")
    command: list[str | Path] = [*FLOWS, "build", recipe]
    command += ["--workers", str(workers)] if workers else []
    ran = run(command, work, memory=True)
    again = run(command, work)
    manifest = read_manifest(folder / "out")
    shutil.rmtree(folder)
    for role, peak in ran.roles.items():
        say(f"{case.name}, {role}: {peak['rss_mib']:.0f} MiB, PSS {peak['pss_mib']:.0f} MiB")
    return {
        "source_gigabytes": case.gigabytes,
        "samples": count,
        "packed": manifest.ledger.packed,
        "shard_gigabytes": sum(shard.size for shard in manifest.shards) / 1e9,
        "seconds": ran.seconds,
        "repeated_seconds": again.seconds,
        "peaks": ran.roles,
    }


def main() -> None:
    """Watch and report."""
    parser = arguments("Peak memory of every process of a build over a big source.", None)
    parser.add_argument("--gigabytes", type=float, default=10.0, help="size of the source")
    parser.add_argument("--distinct", type=int, default=3000, help="different JPEGs in it")
    parser.add_argument("--workers", type=int, help="CPUs of the local Ray; by default all")
    options = parser.parse_args()
    with work_folder(options.work) as work:
        check_disk(work, 1.5 * options.gigabytes + PIXELS_GROW * options.distinct / 1e4)
        per_tar = min(500, ceil(options.distinct / 6))
        wanted = Wanted(count=options.distinct, per_tar=per_tar)
        tars = make_source(work / f"distinct-{options.distinct}", wanted)
        links = links_of(tars, work / "links", options.gigabytes)
        tenth = links[: max(1, len(links) // 10)]
        cases = [
            Case("source_tenth", "source", tenth),
            Case("source", "source", links),
            Case("pixels_tenth", "pixels", tenth),
        ]
        figures = {case.name: watched(case, work, options.workers) for case in cases}
        shutil.rmtree(work / "links")
    report("memory", figures, _targets(figures), save=options.save)


def _targets(figures: dict[str, dict[str, object]]) -> list[Target]:
    workers = {}
    for name, one in figures.items():
        peaks = one["peaks"]
        assert isinstance(peaks, dict)
        workers[name] = float(peaks["worker"]["rss_mib"])
    return [
        Target(f"{name}, highest worker in MiB", peak, WORKER_MIB, at_most=True)
        for name, peak in workers.items()
    ]


if __name__ == "__main__":
    main()
