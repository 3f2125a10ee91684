"""MB/s of assembling shards beside plain `tarfile` writing the same members.

    python -m benchmarks.assemble [--source 'DIR/*.tar'] [--save]

Ours is the whole task in one process: gather the samples from the tables, put tokens in place,
read payloads from containers, encode, crc32 of every member, sha256 of the shard, side files,
everything synced to disk. `tarfile` only writes members that lie in memory, once as it comes, once
with an fsync (as durable as ours), and once with crc32 and sha256 as well. Writing through to the
disk can cost more than all else: put --work on the disk that counts.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import BinaryIO, cast

from benchmarks.kit.builds import Inline, fresh_recipe
from benchmarks.kit.records import records_for
from benchmarks.kit.report import Target, arguments, report, say, work_folder
from benchmarks.kit.timing import in_turn, medians, timed
from benchmarks.source import Wanted, tars_for
from pipelines.build import build, call
from pipelines.load_recipe import load_recipe
from pipelines.shards import ShardTask, run_assemble
from pipelines.steps import Workshop

Members = Sequence[tuple[str, bytes]]


class Hashed:
    """A file that takes the sha256 of what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.sha256 = hashlib.sha256()
        self._file = file

    def write(self, data: bytes) -> int:
        """Write and digest."""
        self.sha256.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        """The position, for `tarfile`."""
        return self._file.tell()


def shard_of(task: ShardTask) -> Path:
    """The file that it writes."""
    return Path(task.output.url, task.place.name)


def members_of(shard: Path) -> Members:
    """All of a shard, in memory."""
    found = []
    with tarfile.open(shard) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            found.append((member.name, content.read()))
    return found


def write_tar(path: Path, members: Members, *, sync: bool, checks: bool) -> None:
    """The members as a plain tar."""
    with path.open("wb") as file:
        # tarfile calls only what `Hashed` has
        target = cast(BinaryIO, Hashed(file)) if checks else file
        with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name, data in members:
                if checks:
                    zlib.crc32(data)
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        if sync:
            file.flush()
            os.fsync(file.fileno())


def rates_of(task: ShardTask, rounds: int, spare: Path) -> tuple[dict[str, float], list[int]]:
    """Median MB/s of each side on one shard, and the sizes of its packs."""
    shard = shard_of(task)
    members = members_of(shard)
    size = shard.stat().st_size / 1e6

    def rate(work: Callable[[], object]) -> float:
        spare.unlink(missing_ok=True)  # to free the old file's pages is no part of the work
        shard.unlink(missing_ok=True)
        return size / timed(work)

    write = partial(write_tar, spare, members)
    sides = {
        "assemble": lambda: rate(partial(run_assemble, task)),
        "tarfile": lambda: rate(partial(write, sync=False, checks=False)),
        "tarfile_synced": lambda: rate(partial(write, sync=True, checks=False)),
        "tarfile_synced_checks": lambda: rate(partial(write, sync=True, checks=True)),
    }
    found = medians(in_turn(rounds, sides))
    packs = [len(data) for name, data in members if name.endswith(".safetensors")]
    return found, packs


def main() -> None:
    """Measure and report."""
    parser = arguments("MB/s of assembling shards, beside plain tarfile.")
    parser.add_argument("--source", help="tars, 'DIR/*.tar'; by default made here")
    parser.add_argument("--count", type=int, default=2000, help="JPEGs")
    parser.add_argument("--payload", choices=("pixels", "source"), default="pixels")
    options = parser.parse_args()
    with work_folder(options.work) as work:
        tars = tars_for(options.source, work, Wanted(count=options.count))
        count = records_for(tars, work / "assemble.jsonl", options.count)
        recipe = fresh_recipe(
            work / "assemble",
            records=work / "assemble.jsonl",
            root=tars[0].parent,
            payload=options.payload,
        )
        engine = Inline()
        say(f"{count} samples to survey, render and assemble once, in this process")
        build(Workshop(load_recipe(recipe), engine), call)
        tasks = [task for task in engine.specs["run_assemble"] if isinstance(task, ShardTask)]
        shards = [shard_of(task).stat().st_size / 1e6 for task in tasks]
        found = [rates_of(task, options.rounds, work / "spare.tar") for task in tasks]
    rates = {name: median(one[name] for one, _ in found) for name in found[0][0]}
    packs = [size / 1e6 for _, sizes in found for size in sizes]
    ratios = {name: rates["assemble"] / rate for name, rate in rates.items() if name != "assemble"}
    figures = {
        "payload": options.payload,
        "jpegs": count,
        "shard_megabytes": shards,
        "pack_megabytes": median(packs),
        "megabytes_per_second": rates,
        "ratios": ratios,
    }
    targets = [Target("assemble / synced tarfile", ratios["tarfile_synced"], 0.7)]
    report("assemble", figures, targets, save=options.save)


if __name__ == "__main__":
    main()
