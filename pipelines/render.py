"""render: pictures of the kept samples, resized and encoded on Ray, each once whatever plan asks
for it; and where depth is given, the places of their patches.

Payloads are addressed by content, so a new plan only makes what no earlier one made; the
containers of a block hold its missing payloads in source order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.plan import Faults, Partition
from pipelines.recipe import Recipe
from pipelines.steps import StandIn, Workshop, stand_ins
from pipelines.store import Receipt, Store
from schemas.columns import one_chunk
from schemas.digest import spec_digest
from workers.gather import by_block
from workers.payloads import (
    ADDRESSES,
    PAYLOADS,
    MediaPlace,
    RenderConfig,
    RenderJob,
    address,
    render_block,
)
from workers.storage.folder import Folder


@dataclass(frozen=True)
class RenderTask:
    """The payloads of one block that do not exist yet."""

    surveyed: str
    sized: str
    first: int  # rows before the block in the partition's tables
    root: Folder
    stand_in: StandIn | None
    wanted: tuple[str, ...]
    config: RenderConfig
    key: str
    store: Store


def render_config(recipe: Recipe) -> RenderConfig:
    """The part of the recipe that shapes payloads."""
    render = recipe.render
    return RenderConfig(render.payload, render.codec, render.resampler)


def addresses(workshop: Workshop, partition: Partition) -> pa.Table:
    """ADDRESSES of the partition, made once a plan."""
    store, config = workshop.store, render_config(workshop.recipe)
    key = spec_digest(
        {
            "stage": "address",
            "payload": config.payload,
            "render": config.spec(),
            "sized": partition.sized.digest,
            "surveyed": [block.surveyed.digest for block in partition.blocks],
        }
    )
    if not store.receipt("addressed", key):
        workshop.engine.local()
        store.write("addressed", key, _address(store, partition, config))
    return store.read("addressed", key)


def _address(store: Store, partition: Partition, config: RenderConfig) -> pa.Table:
    sized = store.read("sized", partition.sized.key)
    parts = [ADDRESSES.empty_table()]
    for number, rows, surveyed in kept_rows(store, partition, sized):
        keys = address(surveyed, sized.take(pa.array(rows)), config)
        counts = [len(names) for names in keys]
        columns = {
            "sized_row": pa.array(np.repeat(rows, counts), pa.int32()),
            "block": pa.array([number] * sum(counts), pa.int32()),
            "key": pa.array([one.key for names in keys for one in names], pa.string()),
            "xyz_key": pa.array([one.xyz_key for names in keys for one in names], pa.string()),
        }
        parts.append(pa.table(columns).cast(ADDRESSES))
    return pa.concat_tables(parts)


def kept_rows(
    store: Store, partition: Partition, sized: pa.Table
) -> Iterator[tuple[int, np.ndarray, pa.Table]]:
    """For each block its number, its rows in SIZED that are not dropped, and these rows of
    SURVEYED.
    """
    rows = np.flatnonzero(pc.is_null(sized.column("drop")).to_numpy())
    within = sized.column("row").to_numpy()[rows]
    for number, places in by_block(sized.column("block").to_numpy()[rows]).items():
        table = store.read("surveyed", partition.blocks[number].surveyed.key)
        yield number, rows[places], table.take(pa.array(within[places]))


def rendered_index(store: Store) -> tuple[pa.Table, list[str]]:
    """PAYLOADS of every container, with its number as a further column, and the
    containers' paths in the cache.
    """
    tables: list[pa.Table] = []
    paths: list[str] = []
    there = {path for path, _ in store.folder.list("rendered")}
    for receipt in sorted(path for path in there if path.endswith(".json")):
        container, index = (receipt.removesuffix(".json") + end for end in (".bin", ".arrow"))
        if not {container, index} <= there:
            continue
        table = store.read_at(index)
        tables.append(
            table.append_column("container", pa.array([len(paths)] * len(table), pa.int32()))
        )
        paths.append(container)
    empty = PAYLOADS.empty_table().append_column("container", pa.array([], pa.int32()))
    return pa.concat_tables([empty, *tables]), paths


def known_faults(index: pa.Table, wanted: pa.Table) -> Faults:
    """Media and depth maps that this plan asks for and that are known not to decode: reason and
    message by sha256.
    """
    asked = pa.concat_arrays([one_chunk(wanted["key"]), one_chunk(wanted["xyz_key"])])
    faulty = index.filter(
        pc.and_(index.column("drop").is_valid(), pc.is_in(index["key"], value_set=asked))
    )
    columns = (faulty.column(name).to_pylist() for name in ("key", "sha256", "drop", "message"))
    # by key, so that of two faults of a medium the same one counts in whatever container it lies
    rows = sorted(zip(*columns, strict=True), reverse=True)
    return {sha256: (drop, message) for _, sha256, drop, message in rows}


def render_partition(workshop: Workshop, partition: Partition, wanted: pa.Table) -> None:
    """Make every payload of the plan that does not exist yet."""
    index, _ = rendered_index(workshop.store)
    tasks = list(_tasks(workshop, partition, wanted, index))
    for _ in workshop.run("render", run_render, tasks):
        pass


def _tasks(
    workshop: Workshop, partition: Partition, wanted: pa.Table, index: pa.Table
) -> Iterator[RenderTask]:
    store = workshop.store
    known = set() if "rendered" in store.redo else set(index.column("key").to_pylist())
    config = render_config(workshop.recipe)
    keys = list(zip(*(wanted.column(name).to_pylist() for name in ("key", "xyz_key")), strict=True))
    first = 0
    places: Mapping[int, np.ndarray] = by_block(wanted.column("block").to_numpy())
    for number, block in enumerate(partition.blocks):
        asked = chain.from_iterable(keys[place] for place in places.get(number, ()))
        missing = list(dict.fromkeys(key for key in asked if key and key not in known))
        known.update(missing)
        if missing:
            key = spec_digest({"stage": "render", **config.spec(), "keys": missing})
            yield RenderTask(
                surveyed=block.surveyed.key,
                sized=partition.sized.key,
                first=first,
                root=workshop.sources[block.source].root,
                stand_in=block.stand_in,
                wanted=tuple(missing),
                config=config,
                key=key,
                store=store,
            )
        first += block.surveyed.rows


def run_render(task: RenderTask) -> Receipt:
    """Render one block's missing payloads: the container first, then its index,
    then the receipt.
    """
    store = task.store
    surveyed = store.read("surveyed", task.surveyed)
    sized = store.read("sized", task.sized).slice(task.first, len(surveyed))
    kept = pa.array(np.flatnonzero(pc.is_null(sized.column("drop")).to_numpy()))
    job = RenderJob(
        surveyed.take(kept),
        sized.take(kept),
        MediaPlace(task.root, stand_ins(task.stand_in, store)),
        frozenset(task.wanted),
        task.config,
    )
    with store.new_path(store.path("rendered", task.key, ".bin")) as container:
        table = render_block(job, container)
    return store.write("rendered", task.key, table)
