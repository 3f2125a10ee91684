"""assemble: every shard of a partition is one task; a shard whose files and receipt exist is done.

The digest of all that shapes a partition names its shards and packs: a changed plan gives new
names, an unchanged one finds its shards. A shard that lost samples to a take-down list has a digest
of its own.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from patchpack.layout import pack_key, shard_name
from pipelines.pieces import by_sample, pieces_of, shard_pieces
from pipelines.plan import Partition, pack_costs, policy_spec
from pipelines.recipe import Recipe
from pipelines.render import render_config
from pipelines.steps import Workshop
from pipelines.store import Store
from pipelines.take_down import shard_digest, taken_rows, without
from pipelines.text import text_spec
from schemas.columns import Ints
from schemas.digest import spec_digest
from schemas.manifest import FOLDER, ShardEntry
from workers import assemble as stage
from workers.assemble import PackStyle, Place
from workers.gather import Sample, by_block, gather
from workers.match import Rule
from workers.shard import PlannedPack, write_shard
from workers.sidefiles import index_name
from workers.storage.folder import Folder
from workers.storage.local import LocalFolder
from workers.text_config import TextConfig
from workers.text_tokenizers import load_tokenizer
from workers.vision_ids import VisionIds


@dataclass(frozen=True)
class PackTables:
    """What the shards of a partition are made from: keys of its tables in the cache, and the text
    section.
    """

    packed: str
    sized: str
    blocks: tuple[tuple[str, str], ...]  # SURVEYED and TOKENIZED of each block
    text: TextConfig


@dataclass(frozen=True)
class ShardPlace:
    """Lane `lane` of a stripe set, rows from `first_row` to `end_row`; the shard's digest."""

    stripe: int
    lane: int
    first_row: int
    end_row: int
    digest: str

    @property
    def name(self) -> str:
        """The shard's file."""
        return shard_name(self.digest, self.stripe, self.lane)


@dataclass(frozen=True)
class ShardTask:
    """One shard to write."""

    place: ShardPlace
    lanes: int
    tables: PackTables
    taken: frozenset[int]  # rows of SIZED that a take-down list names
    pieces: pa.Table
    folders: Mapping[str, Folder]
    style: Mapping[str, str]
    output: Folder
    store: Store


@dataclass(frozen=True)
class Assembled:
    """A partition's shards, and what a take-down list has taken from them."""

    shards: list[ShardEntry]
    taken: Ints  # rows of SIZED
    digests: Mapping[tuple[int, int], str]  # of each shard, by stripe and lane


def recipe_digest(recipe: Recipe) -> str:
    """The digest of what shapes packs: policies, text, pack, render; no paths, no worker counts.

    What a source adds to that (weight, suffix) shows in the tables of its partitions.
    """
    return spec_digest(
        {
            "policy": policy_spec([Rule(one.policy, one.match) for one in recipe.policy]),
            "text": text_spec(recipe.text),
            "pack": recipe.pack.model_dump(mode="json"),
            "render": {**recipe.render.model_dump(mode="json"), **render_config(recipe).spec()},
            "seed": recipe.seed,
        }
    )


def partition_digest(recipe: Recipe, partition: Partition) -> str:
    """The digest of everything that shapes the partition's shards."""
    return spec_digest(
        {
            "stage": "assemble",
            "version": stage.VERSION,
            "recipe": recipe_digest(recipe),
            "partition": partition.name,
            "packed": partition.packed.digest,
            "sized": partition.sized.digest,
            "surveyed": [block.surveyed.digest for block in partition.blocks],
            "tokenized": [block.tokenized.digest for block in partition.blocks if block.tokenized],
        }
    )


def shard_places(workshop: Workshop, partition: Partition, taken: Ints) -> list[ShardPlace]:
    """Every shard of the partition, by stripe and lane."""
    store, lanes = workshop.store, workshop.recipe.pack.lanes
    digest = partition_digest(workshop.recipe, partition)
    rows = rows_per_stripe(workshop.recipe, partition, store)
    lost: dict[tuple[int, int], list[str]] = {}
    if len(taken):
        packed = store.read("packed", partition.packed.key)
        mine = packed.filter(pa.array(np.isin(packed.column("sized_row").to_numpy(), taken)))
        columns = (mine.column(name).to_pylist() for name in ("sample_id", "pack_row", "lane"))
        for sample_id, row, lane in zip(*columns, strict=True):
            lost.setdefault((row // rows, lane), []).append(sample_id)
    return [
        ShardPlace(
            stripe=stripe,
            lane=lane,
            first_row=first,
            end_row=min(first + rows, partition.rows),
            digest=shard_digest(digest, lost.get((stripe, lane), [])),
        )
        for stripe, first in enumerate(range(0, partition.rows, rows))
        for lane in range(lanes)
    ]


def assemble_partition(workshop: Workshop, partition: Partition, wanted: pa.Table) -> Assembled:
    """Every shard of the partition; those that are not there yet are written."""
    taken = taken_rows(workshop, partition)
    places = shard_places(workshop, partition, taken)
    found = {place: finished(workshop, place) for place in places}
    missing = [place for place, shard in found.items() if shard is None]
    if missing:
        workshop.engine.local()
        tasks = list(_tasks(workshop, partition, wanted, missing, taken))
        made = {
            (shard.stripe, shard.lane): shard
            for shard in workshop.run("assemble", run_assemble, tasks)
        }
        found |= {place: made[place.stripe, place.lane] for place in missing}
    digests = {(place.stripe, place.lane): place.digest for place in places}
    return Assembled([shard for shard in found.values() if shard], taken, digests)


def rows_per_stripe(recipe: Recipe, partition: Partition, store: Store) -> int:
    """Rows of a stripe set such that a shard has about the target size, by modelled bytes."""
    if not partition.packs:
        return 1
    packed, sized = partition.tables(store)
    total = int(pack_costs(packed, sized, partition.packs)["bytes"].sum())
    return max(1, recipe.pack.target_shard_mb * 10**6 * partition.packs // max(total, 1))


def finished(workshop: Workshop, place: ShardPlace) -> ShardEntry | None:
    """The entry of a shard that is there with all that belongs to it."""
    output, name = workshop.output, place.name
    if "assembled" in workshop.redo:
        return None
    try:
        receipt = json.loads(output.read_whole(receipt_name(name)))
        partition = receipt.pop("partition")
        shard = ShardEntry.model_validate(receipt)
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    stats = [output.stat(file) for file in (name, f"{name}.idx", index_name(name))]
    whole = all(stats) and stats[0] is not None and stats[0].size == shard.size
    return shard if whole and partition == place.digest else None


def receipt_name(shard: str) -> str:
    """The receipt of a shard, written after it."""
    return f"{FOLDER}/shards/{shard}.json"


def _tasks(
    workshop: Workshop,
    partition: Partition,
    wanted: pa.Table,
    places: list[ShardPlace],
    taken: Ints,
) -> Iterator[ShardTask]:
    recipe, store = workshop.recipe, workshop.store
    style = {
        "recipe": recipe_digest(recipe),
        "positions": recipe.positions,
        "payload": recipe.render.payload,
    }
    tables = PackTables(
        partition.packed.key,
        partition.sized.key,
        tuple((b.surveyed.key, b.tokenized.key) for b in partition.blocks if b.tokenized),
        recipe.text,
    )
    packed = without(store.read("packed", partition.packed.key), taken)
    lane, row = packed.column("lane").to_numpy(), packed.column("pack_row").to_numpy()
    pieces = pieces_of(workshop, partition, wanted)
    names = {block.source for block in partition.blocks}
    folders = {"": store.folder, **{n: s.root for n, s in workshop.sources.items() if n in names}}
    for place in places:
        inside = (lane == place.lane) & (row >= place.first_row) & (row < place.end_row)
        samples = np.unique(packed.column("sized_row").to_numpy()[inside])
        yield ShardTask(
            place=place,
            lanes=recipe.pack.lanes,
            tables=tables,
            taken=frozenset(taken.tolist()),
            pieces=shard_pieces(pieces, samples),
            folders=folders,
            style=style,
            output=workshop.output,
            store=store,
        )


def run_assemble(task: ShardTask) -> ShardEntry:
    """Write one shard, its side files, and then its receipt."""
    style = PackStyle(**task.style, ids=_vision_ids(task))
    place = task.place
    with task.store.scratch.staging() as staging, _shard_path(task) as path:
        summary, packs = write_shard(path, _planned(task), task.folders, staging, style)
    shard = ShardEntry(
        name=summary.name,
        stripe=place.stripe,
        lane=place.lane,
        packs=packs,
        fillers=len(summary.packs) - packs,
        size=summary.size,
        sha256=summary.sha256,
    )
    receipt = {"partition": place.digest, **shard.model_dump()}
    task.output.write_whole(receipt_name(shard.name), json.dumps(receipt, indent=1).encode())
    return shard


@contextmanager
def _shard_path(task: ShardTask) -> Iterator[Path]:
    """Where the shard is written; for a remote folder on local disk first, the shard moved last."""
    output, name = task.output, task.place.name
    if isinstance(output, LocalFolder):
        yield output.root / name
        return
    scratch = task.store.scratch.folder
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="shard-") as made:
        folder = Path(made)
        yield folder / name
        for file in (index_name(name), f"{name}.idx", name):
            output.put(folder / file, file)


def _vision_ids(task: ShardTask) -> VisionIds:
    if not len(task.pieces):
        return VisionIds.without_media()
    return VisionIds.of(load_tokenizer(task.tables.text), task.tables.text.family)


def _planned(task: ShardTask) -> Iterator[PlannedPack]:
    """The packs of the shard, front to back."""
    store, place = task.store, task.place
    packed = without(
        store.read("packed", task.tables.packed), np.array(sorted(task.taken), np.int64)
    )
    row = packed.column("pack_row").to_numpy()
    inside = (
        (packed.column("lane").to_numpy() == place.lane)
        & (row >= place.first_row)
        & (row < place.end_row)
    )
    packed = packed.take(pa.array(np.flatnonzero(inside)))
    samples = _samples(store, task.tables, packed)
    pieces = by_sample(task.pieces)
    members: dict[int, list[int]] = {}
    for pack_row, sized_row in zip(
        packed["pack_row"].to_pylist(), packed["sized_row"].to_pylist(), strict=True
    ):
        members.setdefault(pack_row, []).append(sized_row)
    for pack_row in range(place.first_row, place.end_row):
        number = pack_row * task.lanes + place.lane
        rows = members.get(pack_row, [])
        yield PlannedPack(
            place=Place(pack_key(place.digest, number), place.lane, pack_row),
            samples=[samples[row] for row in rows],
            pieces=[item for row in rows for item in pieces.get(row, [])],
        )


def _samples(store: Store, tables: PackTables, packed: pa.Table) -> dict[int, Sample]:
    """The samples of these instances, by their row in SIZED."""
    sized = store.read("sized", tables.sized)
    rows = np.unique(packed.column("sized_row").to_numpy())
    mine = sized.take(pa.array(rows))
    within = mine.column("row").to_numpy()
    samples: dict[int, Sample] = {}
    for number, places in by_block(mine.column("block").to_numpy()).items():
        surveyed, tokenized = tables.blocks[number]
        take = pa.array(within[places])
        gathered = gather(
            store.read("surveyed", surveyed).take(take),
            store.read("tokenized", tokenized).take(take),
            mine.take(pa.array(places)),
        )
        samples.update(zip(rows[places].tolist(), gathered, strict=True))
    return samples
