"""costs: what a build would do beside the published version, before it does it.

Source files are compared by content: by the digests of what the survey found in them. So that
part of the work, survey and tokenize, is done here and counted; it stays in the cache for the
build. Everything behind it is decided on tables: which payloads no container holds, which shards
are not there. Bytes are modelled, as packing models them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa

from pipelines.assemble import finished, partition_digest, shard_places
from pipelines.balance import pack_costs
from pipelines.build import RunStage, chosen, find, plan_known, published, read
from pipelines.describe import partition_files
from pipelines.finding import Found
from pipelines.partitions import SourceFile
from pipelines.plan import Partition
from pipelines.published import read_table
from pipelines.recorded import asked_for
from pipelines.steps import Progress, Workshop
from pipelines.summary import Rows
from pipelines.take_down import taken_rows, without
from schemas.columns import Ints
from schemas.manifest import Manifest, PartitionEntry
from schemas.tables import FILES

Contents = Mapping[SourceFile, str]

COUNTED = ("index", "survey", "tokenize")
"""The work that a plan does itself."""


@dataclass(frozen=True)
class FileChanges:
    """Source files beside those of the published version, as `source/path`."""

    new: list[str]
    changed: list[str]
    gone: list[str]
    untouched: int


@dataclass(frozen=True)
class PartitionCost:
    """What a build would do for a partition."""

    name: str
    state: Literal["new", "changed", "untouched"]
    payloads: int
    """To render."""
    payload_bytes: int
    shards: int
    """To write."""
    shard_bytes: int
    shards_kept: int


@dataclass(frozen=True)
class Costs:
    """What a build would do. `done` is what the plan has done for it, in blocks and files."""

    version: int | None
    files: FileChanges
    partitions: list[PartitionCost]
    partitions_gone: list[str]
    done: dict[str, int]

    def as_json(self) -> dict[str, object]:
        """With the totals."""
        fields = ("payloads", "payload_bytes", "shards", "shard_bytes", "shards_kept")
        totals = {name: sum(getattr(one, name) for one in self.partitions) for name in fields}
        return {**asdict(self), "total": totals}


def plan_costs(
    workshop: Workshop,
    run: RunStage,
    only: Collection[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> tuple[list[Partition], Costs]:
    """The plan of every partition, or of `only` these, and what it costs to build it.

    `say` is told of source files by their names alone, before one of them is surveyed.
    """
    done = Counter(dict.fromkeys(COUNTED, 0))
    workshop = replace(workshop, progress=_counting(workshop.progress, done))
    base = published(workshop)
    found = chosen(workshop, only, find(workshop, run, base), base)
    before = _contents(workshop, base, found if only else None)
    say(_by_name(found, before))
    planned: list[Partition] = []
    costs: list[PartitionCost] = []
    now: dict[SourceFile, str] = {}
    counted: set[str] = set()
    entries = {entry.name: entry for entry in base.partitions} if base else {}
    for name, blocks, outside in read(workshop, run, found, base if only else None, may_ask=False):
        work = partial(plan_known, workshop, name, blocks, outside)
        partition, wanted = run(f"plan {name}", work)
        to_render = _to_render(workshop, partition, wanted, counted)
        costs.append(_cost(workshop, partition, to_render, entries.get(name)))
        planned.append(partition)
        now |= _table_contents(partition_files(partition))
    gone = [] if only else [name for name in entries if name not in found]
    version = base.version if base else None
    return planned, Costs(version, _changes(now, before), costs, gone, dict(done))


def rows_of(costs: Costs, most: int = 10) -> Rows:
    """The costs as people read them; of long lists the first `most`."""
    files, parts = costs.files, costs.partitions
    states = Counter(part.state for part in parts)
    against = f"version {costs.version}" if costs.version else "no version: nothing is published"
    counted = f"{len(files.new):,} new, {len(files.changed):,} changed, {len(files.gone):,} gone"
    named = (
        (
            f"partition {part.name}",
            f"{part.state}, shards to write {_much(part.shards, part.shard_bytes)}",
        )
        for part in parts
        if part.state != "untouched"
    )
    return [
        ("beside", against),
        ("source files", f"{counted}, {files.untouched:,} as they were"),
        *_few("file", {"new": files.new, "changed": files.changed, "gone": files.gone}, most),
        ("done by this plan", ", ".join(f"{stage} {n:,}" for stage, n in costs.done.items())),
        (
            "partitions compared",
            f"{states['new']:,} new, {states['changed']:,} changed, "
            f"{len(costs.partitions_gone):,} gone, {states['untouched']:,} untouched",
        ),
        *list(named)[:most],
        (
            "payloads to render",
            _much(sum(part.payloads for part in parts), sum(part.payload_bytes for part in parts)),
        ),
        (
            "shards to write",
            _much(sum(part.shards for part in parts), sum(part.shard_bytes for part in parts)),
        ),
        ("shards kept", f"{sum(part.shards_kept for part in parts):,}"),
    ]


def _few(what: str, lists: Mapping[str, list[str]], most: int) -> Rows:
    rows = [(f"{state} {what}", name) for state, names in lists.items() for name in names]
    more = [("", f"and {len(rows) - most:,} more; --json has all")] if len(rows) > most else []
    return rows[:most] + more


def _much(count: int, size: int) -> str:
    return f"{count:,}, {size / 1e6:,.1f} MB modelled"


def _counting(inner: Progress, done: Counter[str]) -> Progress:
    def progress(stage: str, so_far: int, total: int) -> None:
        if so_far == 0 and stage in done:
            done[stage] += total
        inner(stage, so_far, total)

    return progress


def _contents(
    workshop: Workshop, base: Manifest | None, only: Collection[str] | None
) -> dict[SourceFile, str]:
    """The files of the published version, of all partitions or `only` these."""
    if base is None:
        return {}
    table = read_table(workshop.output, base.files.name)
    if only is not None:
        table = table.filter(pa.array([name in only for name in table["partition"].to_pylist()]))
    return _table_contents(table)


def _table_contents(files: pa.Table) -> dict[SourceFile, str]:
    rows = zip(*(files.column(name).to_pylist() for name in FILES.names[1:]), strict=True)
    return {SourceFile(source, path): content for source, path, content in rows}


def _by_name(found: Mapping[str, list[Found]], before: Contents) -> str:
    """What of the files is known before one of them is read."""
    now = {file for blocks in found.values() for block in blocks for file in block.files}
    same = len(now & before.keys())
    return (
        f"source files by name: {len(now - before.keys()):,} new, "
        f"{len(before.keys() - now):,} gone, {same:,} that the published version has"
    )


def _changes(now: Contents, before: Contents) -> FileChanges:
    return FileChanges(
        new=_names(file for file in now if file not in before),
        changed=_names(file for file in now if file in before and now[file] != before[file]),
        gone=_names(file for file in before if file not in now),
        untouched=sum(before.get(file) == content for file, content in now.items()),
    )


def _names(files: Iterable[SourceFile]) -> list[str]:
    return [f"{file.source}/{file.path}" for file in files]


def _to_render(
    workshop: Workshop, partition: Partition, wanted: pa.Table, counted: set[str]
) -> tuple[int, int]:
    """Payloads of the plan that no container holds, but those `counted` already; and their bytes.

    A sample's modelled bytes are spread evenly over its media.
    """
    sized = workshop.store.read("sized", partition.sized.key)
    # as `workers.size` has it: six bytes a token, the rest is payload
    media = sized.column("bytes").to_numpy() - 6 * sized.column("length").to_numpy()
    row = wanted.column("sized_row").to_numpy()
    share = media[row] // np.bincount(row, minlength=len(sized))[row]
    count = size = 0
    known = set(workshop.rendered.of(asked_for(wanted)).column("key").to_pylist())
    columns = (wanted.column(name).to_pylist() for name in ("key", "xyz_key"))
    for place, keys in enumerate(zip(*columns, strict=True)):
        missing = {key for key in keys if key} - known - counted
        count += len(missing)
        size += int(share[place]) if keys[0] in missing else 0
        counted |= missing
    return count, size


def _cost(
    workshop: Workshop,
    partition: Partition,
    to_render: tuple[int, int],
    entry: PartitionEntry | None,
) -> PartitionCost:
    lanes = workshop.recipe.pack.lanes
    taken = taken_rows(workshop, partition)
    packed, sized = partition.tables(workshop.store)
    costs = pack_costs(without(packed, taken), sized, partition.rows * lanes)
    size: Ints = costs["bytes"].reshape(partition.rows, lanes)
    places = shard_places(workshop, partition, taken)
    missing = [place for place in places if finished(workshop, place) is None]
    same = (
        entry is not None
        and entry.digest == partition_digest(workshop.recipe, partition)
        and [shard.name for shard in entry.shards] == [place.name for place in places]
    )
    return PartitionCost(
        name=partition.name,
        state="untouched" if same else "changed" if entry else "new",
        payloads=to_render[0],
        payload_bytes=to_render[1],
        shards=len(missing),
        shard_bytes=sum(
            int(size[place.first_row : place.end_row, place.lane].sum()) for place in missing
        ),
        shards_kept=len(places) - len(missing),
    )
