"""One shard as a task: from its tables, payloads and source files to the shard, its side files and
its receipt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from patchpack.layout import pack_key, shard_name
from pipelines.pieces import by_sample, remote_spans
from pipelines.store import Store
from pipelines.take_down import without
from schemas.manifest import FOLDER, ShardEntry
from workers.assemble import PackStyle, Place
from workers.fetched import Fetched, Sources
from workers.gather import Sample, by_block, gather
from workers.shard import PlannedPack, Reader, write_shard
from workers.sidefiles import index_name
from workers.storage.folder import Folder, Stat
from workers.storage.local import LocalFolder
from workers.storage.snapshot import snapshot
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
    known: Mapping[str, Stat]
    """Files of these tables in a remote cache, so that no task asks for them one by one."""


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
    sources: Sources
    style: Mapping[str, str]
    output: Folder
    store: Store


def receipt_name(shard: str) -> str:
    """The receipt of a shard, written after it."""
    return f"{FOLDER}/shards/{shard}.json"


def run_assemble(task: ShardTask) -> ShardEntry:
    """Write one shard, its side files, and then its receipt."""
    style = PackStyle(**task.style, ids=_vision_ids(task))
    place = task.place
    with _reader(task) as read, _shard_path(task) as path:
        summary, packs = write_shard(path, _planned(task), read, style)
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
    with task.store.scratch.draft() as folder:
        yield folder / name
        for file in (index_name(name), f"{name}.idx", name):
            output.put(folder / file, file)


@contextmanager
def _reader(task: ShardTask) -> Iterator[Reader]:
    """Reads the pieces; what is remote has been fetched, or will be when it is first read."""
    scratch, sources = task.store.scratch, task.sources
    with ExitStack() as stack:
        fetched = None
        if wanted := remote_spans(task.pieces, sources.folders):
            staging = stack.enter_context(scratch.staging())
            fetched = Fetched(sources, staging, stack.enter_context(scratch.draft()))
            fetched.gather(wanted)
        yield stack.enter_context(Reader(sources.folders, fetched))


def _vision_ids(task: ShardTask) -> VisionIds:
    if not len(task.pieces):
        return VisionIds.without_media()
    return VisionIds.of(load_tokenizer(task.tables.text), task.tables.text.family)


def _planned(task: ShardTask) -> Iterator[PlannedPack]:
    """The packs of the shard, front to back."""
    cache, place = snapshot(task.store.folder, task.tables.known), task.place
    store = replace(task.store, folder=cache)
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
    places = by_block(mine.column("block").to_numpy())
    keys = [tables.blocks[number] for number in places]
    surveyed = store.read_each("surveyed", [key for key, _ in keys])
    tokenized = store.read_each("tokenized", [key for _, key in keys])
    for here, survey, text in zip(places.values(), surveyed, tokenized, strict=True):
        take = pa.array(within[here])
        gathered = gather(survey.take(take), text.take(take), mine.take(pa.array(here)))
        samples.update(zip(rows[here].tolist(), gathered, strict=True))
    return samples
