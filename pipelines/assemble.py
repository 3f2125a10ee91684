"""assemble: every shard of a partition is one task; a shard whose files and receipt exist is done.

The digest of all that shapes a partition names its shards and packs: a changed plan gives new
names, an unchanged one finds its shards. A shard that lost samples to a take-down list has a digest
of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from pipelines.balance import pack_costs
from pipelines.pieces import pieces_of, remote_spans, shard_pieces
from pipelines.plan import Partition, policy_spec
from pipelines.recipe import Recipe
from pipelines.render import render_config, render_shape
from pipelines.shards import PackTables, ShardPlace, ShardTask, receipt_name, run_assemble
from pipelines.steps import Workshop
from pipelines.store import Store, at_once
from pipelines.take_down import shard_digest, taken_rows, without
from pipelines.text import text_spec
from schemas.columns import Ints
from schemas.digest import spec_digest
from schemas.errors import BuildError
from schemas.manifest import ShardEntry
from workers import assemble as stage
from workers.fetched import Sources, worth_copying
from workers.match import Rule
from workers.sidefiles import index_name
from workers.storage.folder import Stat
from workers.storage.local import LocalFolder

MB = 10**6


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
            "render": {**render_shape(recipe.render), **render_config(recipe.render).spec()},
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
            **({"recorded": partition.recorded} if partition.recorded else {}),
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
    there = at_once(workshop.output, partial(finished, workshop), places)
    found = dict(zip(places, there, strict=True))
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
    """Rows of a stripe set: a partition has stripe sets of equal rows, by modelled bytes."""
    if not partition.packs:
        return 1
    packed, sized = partition.tables(store)
    places = partition.rows * recipe.pack.lanes
    total = int(pack_costs(packed, sized, places)["bytes"].sum())
    target = recipe.pack.target_shard_mb * MB * recipe.pack.lanes
    steps = partition.rows // recipe.pack.bundle  # the packs of a bundle stay in one shard
    return -(-steps // stripe_sets(total, target)) * recipe.pack.bundle


def stripe_sets(size: int, target: int) -> int:
    """How many stripe sets of about `target` bytes these bytes make, at least one.

    To the nearest: 1.1 are one, so a small partition has no second set of tiny shards, and a
    hundredth of the data has no more than a hundredth of the stripe sets and a half one.
    """
    return max(1, (2 * size + target) // (2 * target))


def finished(workshop: Workshop, place: ShardPlace) -> ShardEntry | None:
    """The entry of a shard that is there with all that belongs to it. Raises BuildError where the
    shard of this name is another one, which some version may hold.
    """
    output, name = workshop.output, place.name
    try:
        receipt = json.loads(workshop.store.scratch.content(output, receipt_name(name)))
        partition = receipt.pop("partition")
        shard = ShardEntry.model_validate(receipt)
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    if partition != place.digest:  # of 2**32 digits, for one stripe set and lane
        what = "its digest begins like that of a shard that is there; `gc` it, or change `seed`"
        raise BuildError(f"{name}: {what}")
    stats = [output.stat(file) for file in (name, f"{name}.idx", index_name(name))]
    if not all(stats) or stats[0] is None or not workshop.redo.counts("assembled", stats[0]):
        return None
    return shard if stats[0].size == shard.size else None


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
        _known(store, partition),
    )
    packed = without(store.read("packed", partition.packed.key), taken)
    lane, row = packed.column("lane").to_numpy(), packed.column("pack_row").to_numpy()
    pieces = pieces_of(workshop, partition, wanted)
    taking = []
    for place in places:
        inside = (lane == place.lane) & (row >= place.first_row) & (row < place.end_row)
        samples = np.unique(packed.column("sized_row").to_numpy()[inside])
        taking.append(shard_pieces(pieces, samples))
    sources = _sources(workshop, partition, taking)
    for place, taken_from in zip(places, taking, strict=True):
        yield ShardTask(
            place=place,
            lanes=recipe.pack.lanes,
            tables=tables,
            taken=frozenset(taken.tolist()),
            pieces=taken_from,
            sources=sources,
            style=style,
            output=workshop.output,
            store=store,
        )


def _known(store: Store, partition: Partition) -> dict[str, Stat]:
    """The partition's tables in a remote cache as they are."""
    if isinstance(store.folder, LocalFolder):
        return {}
    receipts = [partition.packed, partition.sized]
    for block in partition.blocks:
        receipts += [one for one in (block.surveyed, block.tokenized) if one]
    paths = [store.path(one.stage, one.key, ".arrow") for one in receipts]
    found = at_once(store.folder, store.folder.stat, paths)
    return {path: stat for path, stat in zip(paths, found, strict=True) if stat}


def _sources(workshop: Workshop, partition: Partition, taking: Sequence[pa.Table]) -> Sources:
    """Where the pieces lie, and which remote files are worth copying for these shards."""
    names = {block.source for block in partition.blocks}
    roots = {name: source.root for name, source in workshop.sources.items() if name in names}
    folders = {"": workshop.store.folder, **roots}
    wanted = [remote_spans(pieces, folders) for pieces in taking]
    copied = worth_copying(
        wanted,
        lambda file: folders[file.folder].stat(file.path),
        workshop.store.scratch.budget_bytes,
    )
    return Sources(folders, copied)
