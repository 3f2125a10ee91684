"""A source that grows by a file a day, and a data set of it, built in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from pipelines.answers import Make
from pipelines.build import Built, RunStage, build, call
from pipelines.engine import ActorPool, Engine
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from schemas.manifest import Manifest, PartitionEntry
from tests.tiny_source import asked, encoded, picture

Spec = TypeVar("Spec")
Result = TypeVar("Result")

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")
PARTITIONS = [f"date={day}" for day in DAYS]
QWEN = 'kind = "qwen2_vl"'
SMALLER = 'kind = "qwen2_vl"\nmax_pixels = 3136'


class Inline:
    """An engine that runs tasks in this process; `made` counts them by function."""

    def __init__(self, workers: int | None = None) -> None:
        del workers
        self.made: dict[str, int] = {}

    def map(self, function: Callable[[Spec], Result], specs: Sequence[Spec]) -> Iterator[Result]:
        for spec in specs:
            self.made[function.__name__] = self.made.get(function.__name__, 0) + 1
            yield function(spec)

    def map_actors(
        self, make: Make[Spec, Result], specs: Sequence[Spec], pool: ActorPool
    ) -> Iterator[Result]:
        del pool
        return map(make(1), specs) if specs else iter(())

    def local(self) -> None:
        """Nothing to start."""

    def close(self) -> None:
        """Nothing to end."""


def write_day(folder: Path, day: str, names: Sequence[str] = (), pictures: int = 6) -> Path:
    """The file of one day, of samples with a picture each, below `folder/source`.

    Every day has pictures of its own. Samples are named by day and number, unless told.
    """
    place = f"date={day}"
    (folder / "source" / place).mkdir(parents=True, exist_ok=True)
    records = []
    for number in range(pictures):
        path = f"{place}/{number}.png"
        image = picture(7 * number + int(day[-2:]), (56 + 28 * number, 84))
        (folder / "source" / path).write_bytes(encoded(image, "png"))
        name = names[number] if number < len(names) else f"{day}-{number}"
        records.append(asked(name, path))
    file = folder / "source" / place / "records.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def write_days(folder: Path) -> Path:
    """A source of three days and its recipe, whose path is returned."""
    for day in DAYS:
        write_day(folder, day)
    return write_dated_recipe(folder)


def write_dated_recipe(
    folder: Path, *, policy: str = QWEN, output: str = "out", select: str = "", scratch: str = ""
) -> Path:
    """`recipe.toml` in the folder: a partition a day. `output` may be a URL."""
    place = output if "://" in output else folder / output
    path = folder / "recipe.toml"
    path.write_text(
        f"""
name = "dated"
[[sources]]
name = "daily"
kind = "records"
path = "{folder}/source/*/records.jsonl"
partition = "(?P<date>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})"
[select]
max_drop_ratio = 1.0
{select}
[[policy]]
{policy}
[pack]
max_tokens = 128
lanes = 2
[output]
path = "{place}"
{scratch}
"""
    )
    return path


def build_here(
    recipe: Path, engine: Engine | None = None, run: RunStage = call, only: Sequence[str] = ()
) -> Built:
    """Build it in this process."""
    return build(Workshop(load_recipe(recipe), engine or Inline()), run, only)


def entries(manifest: Manifest) -> dict[str, PartitionEntry]:
    """The partitions by name."""
    return {entry.name: entry for entry in manifest.partitions}


Identity = tuple[int, int, str]


def files_of(root: Path, entry: PartitionEntry) -> dict[str, Identity]:
    """Inode, time and stated digest of every shard of a partition, by name."""
    stats = {shard.name: (root / shard.name).stat() for shard in entry.shards}
    return {
        shard.name: (stats[shard.name].st_ino, stats[shard.name].st_mtime_ns, shard.sha256)
        for shard in entry.shards
    }
