"""assemble: every shard of a partition is one task; a shard whose files and receipt exist is done.

The digest of all that shapes a partition names its shards and packs: a changed plan gives new
names, an unchanged one finds its shards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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
from pipelines.text import text_spec
from schemas.digest import spec_digest
from schemas.manifest import FOLDER, ShardEntry
from workers import assemble as stage
from workers.assemble import PackStyle, Place
from workers.durable import write_whole
from workers.gather import Sample, by_block, gather
from workers.shard import PlannedPack, write_shard
from workers.sidefiles import index_path
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
class ShardTask:
    """One shard: lane `lane` of the rows from `first_row` to `end_row`."""

    digest: str  # of the partition
    stripe: int
    lane: int
    lanes: int
    first_row: int
    end_row: int
    tables: PackTables
    pieces: pa.Table
    folders: Mapping[str, Path]
    style: Mapping[str, str]
    output: Path
    cache: Path

    @property
    def path(self) -> Path:
        """Where the shard goes."""
        return self.output / shard_name(self.digest, self.stripe, self.lane)


def recipe_digest(recipe: Recipe) -> str:
    """The digest of what shapes packs: policies, text, pack, render; no paths, no worker counts."""
    return spec_digest(
        {
            "policy": policy_spec(recipe),
            "text": text_spec(recipe.text),
            "pack": recipe.pack.model_dump(mode="json"),
            "render": {**recipe.render.model_dump(mode="json"), **render_config(recipe).spec()},
            "seed": recipe.seed,
            "sources": {
                source.name: [source.weight, source.prompt_suffix] for source in recipe.sources
            },
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


def assemble_partition(
    workshop: Workshop, partition: Partition, wanted: pa.Table
) -> list[ShardEntry]:
    """Every shard of the partition, by stripe and lane."""
    digest = partition_digest(workshop.recipe, partition)
    rows = rows_per_stripe(workshop.recipe, partition, workshop.store)
    places = [
        (stripe, lane, first, min(first + rows, partition.rows))
        for stripe, first in enumerate(range(0, partition.rows, rows))
        for lane in range(workshop.recipe.pack.lanes)
    ]
    found = {
        place: _finished(workshop.output, shard_name(digest, *place[:2]), digest)
        for place in places
    }
    missing = [place for place, shard in found.items() if shard is None]
    if missing:
        workshop.engine.local()
        tasks = list(_tasks(workshop, partition, wanted, missing))
        made = {
            (shard.stripe, shard.lane): shard
            for shard in workshop.run("assemble", run_assemble, tasks)
        }
        found |= {place: made[place[:2]] for place in missing}
    return [shard for shard in found.values() if shard]


def rows_per_stripe(recipe: Recipe, partition: Partition, store: Store) -> int:
    """Rows of a stripe set such that a shard has about the target size, by modelled bytes."""
    if not partition.packs:
        return 1
    packed, sized = partition.tables(store)
    total = int(pack_costs(packed, sized, partition.packs)["bytes"].sum())
    return max(1, recipe.pack.target_shard_mb * 10**6 * partition.packs // max(total, 1))


def _finished(output: Path, name: str, digest: str) -> ShardEntry | None:
    path = output / name
    try:
        receipt = json.loads(receipt_path(output, name).read_bytes())
        partition = receipt.pop("partition")
        shard = ShardEntry.model_validate(receipt)
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    beside = (path, path.with_name(f"{name}.idx"), index_path(path))
    whole = all(file.exists() for file in beside) and path.stat().st_size == shard.size
    return shard if whole and partition == digest else None


def receipt_path(output: Path, name: str) -> Path:
    """The receipt of a shard, written after it."""
    return output / FOLDER / "shards" / f"{name}.json"


def _tasks(
    workshop: Workshop,
    partition: Partition,
    wanted: pa.Table,
    places: list[tuple[int, int, int, int]],
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
    packed = store.read("packed", partition.packed.key)
    lane, row = packed.column("lane").to_numpy(), packed.column("pack_row").to_numpy()
    pieces = pieces_of(workshop, partition, wanted)
    digest = partition_digest(recipe, partition)
    for stripe, number, first, end in places:
        inside = (lane == number) & (row >= first) & (row < end)
        yield ShardTask(
            digest=digest,
            stripe=stripe,
            lane=number,
            lanes=recipe.pack.lanes,
            first_row=first,
            end_row=end,
            tables=tables,
            pieces=shard_pieces(pieces, np.unique(packed.column("sized_row").to_numpy()[inside])),
            folders={
                "": store.root,
                **{source.name: source.root for source in recipe.sources if source.root},
            },
            style=style,
            output=workshop.output,
            cache=store.root,
        )


def run_assemble(task: ShardTask) -> ShardEntry:
    """Write one shard, its side files, and then its receipt."""
    style = PackStyle(**task.style, ids=_vision_ids(task))
    summary, packs = write_shard(task.path, _planned(task), task.folders, style)
    shard = ShardEntry(
        name=summary.name,
        stripe=task.stripe,
        lane=task.lane,
        packs=packs,
        fillers=len(summary.packs) - packs,
        size=summary.size,
        sha256=summary.sha256,
    )
    receipt = {"partition": task.digest, **shard.model_dump()}
    write_whole(receipt_path(task.output, shard.name), json.dumps(receipt, indent=1).encode())
    return shard


def _vision_ids(task: ShardTask) -> VisionIds:
    if not len(task.pieces):
        return VisionIds.without_media()
    return VisionIds.of(load_tokenizer(task.tables.text), task.tables.text.family)


def _planned(task: ShardTask) -> Iterator[PlannedPack]:
    """The packs of the shard, front to back."""
    store = Store(task.cache)
    packed = store.read("packed", task.tables.packed)
    row = packed.column("pack_row").to_numpy()
    inside = (
        (packed.column("lane").to_numpy() == task.lane)
        & (row >= task.first_row)
        & (row < task.end_row)
    )
    packed = packed.take(pa.array(np.flatnonzero(inside)))
    samples = _samples(store, task.tables, packed)
    pieces = by_sample(task.pieces)
    members: dict[int, list[int]] = {}
    for pack_row, sized_row in zip(
        packed["pack_row"].to_pylist(), packed["sized_row"].to_pylist(), strict=True
    ):
        members.setdefault(pack_row, []).append(sized_row)
    for pack_row in range(task.first_row, task.end_row):
        number = pack_row * task.lanes + task.lane
        rows = members.get(pack_row, [])
        yield PlannedPack(
            place=Place(pack_key(task.digest, number), task.lane, pack_row),
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
