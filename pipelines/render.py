"""render: pictures of the kept samples, resized and encoded on Ray, each once whatever plan asks
for it; and where depth is given, the places of their patches.

Payloads are addressed by content, so a new plan only makes what no earlier one made; the
containers of a block hold its missing payloads in source order. In a remote cache a container is at
least a request's worth of bytes, of as many blocks as that takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engine import ActorPool
from pipelines.plan import Partition
from pipelines.recipe import Render
from pipelines.recorded import asked_for
from pipelines.steps import StandIn, Workshop, stand_ins
from pipelines.store import Receipt, Store
from schemas.digest import spec_digest
from workers.encoders.config import EncoderConfig
from workers.encoders.spec import encoder_spec
from workers.gather import by_block
from workers.payloads import (
    ADDRESSES,
    MediaPlace,
    RenderConfig,
    RenderJob,
    address,
    render_block,
)
from workers.storage.folder import Folder
from workers.storage.local import LocalFolder

_CONTAINER_BYTES = 32 << 20
"""Of a container in a remote cache, by modelled bytes: four times what a request should move, as
the model may be off.
"""
_MAX_BLOCKS = 64
"""In one container."""


@dataclass(frozen=True)
class RenderPart:
    """A block of a partition whose payloads do not exist yet, or not all of them."""

    surveyed: str
    source: str
    stand_in: StandIn | None
    first: int  # rows before the block in the partition's tables
    missing: tuple[str, ...]
    size: int  # of what is missing, modelled bytes


@dataclass(frozen=True)
class RenderTask:
    """The payloads of one container, of blocks of one source."""

    parts: tuple[RenderPart, ...]
    sized: str
    root: Folder
    config: RenderConfig
    key: str
    store: Store


def render_config(render: Render) -> RenderConfig:
    """The part of the recipe that shapes payloads. Raises RecipeError for an encoder whose files
    are missing or damaged.
    """
    encoder = encoder_spec(render.encoder) if render.encoder else None
    return RenderConfig(render.payload, render.codec, render.resampler, encoder)


def render_shape(render: Render) -> dict[str, object]:
    """The section as a manifest has it: without where an encoder lies and how it is run."""
    shape: dict[str, object] = render.model_dump(mode="json", exclude={"encoder"})
    return {**shape, "encoder": encoder_spec(render.encoder)} if render.encoder else shape


def addresses(workshop: Workshop, partition: Partition) -> pa.Table:
    """ADDRESSES of the partition, made once a plan."""
    store, config = workshop.store, render_config(workshop.recipe.render)
    surveyed = [block.surveyed.digest for block in partition.blocks]
    key = addresses_key(config, partition.sized.digest, surveyed)
    if not store.receipt("addressed", key):
        workshop.engine.local()
        store.write("addressed", key, _address(store, partition, config))
    return store.read("addressed", key)


def addresses_key(config: RenderConfig, sized: str, surveyed: Sequence[str]) -> str:
    """Where they are kept, by the digests of the partition's SIZED and SURVEYED tables."""
    return spec_digest(
        {
            "stage": "address",
            "payload": config.payload,
            "render": config.spec(),
            "sized": sized,
            "surveyed": surveyed,
        }
    )


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
    places = by_block(sized.column("block").to_numpy()[rows])
    tables = store.read_each("surveyed", [partition.blocks[n].surveyed.key for n in places])
    for (number, here), table in zip(places.items(), tables, strict=True):
        yield number, rows[here], table.take(pa.array(within[here]))


def render_partition(workshop: Workshop, partition: Partition, wanted: pa.Table) -> None:
    """Make every payload of the plan that does not exist yet."""
    tasks, made = list(tasks_of(workshop, partition, wanted)), []
    encoder = workshop.recipe.render.encoder
    if encoder is None:
        making = workshop.run("render", run_render, tasks)
    else:
        making = workshop.run_actors("encode", partial(Encoding, encoder), tasks, pool_of(encoder))
    try:
        for receipt in making:
            made.append(receipt)  # noqa: PERF402 - those before a failure count
    finally:
        workshop.rendered.add(made)


def tasks_of(workshop: Workshop, partition: Partition, wanted: pa.Table) -> Iterator[RenderTask]:
    """The containers to make of these ADDRESSES of a partition."""
    store, config = workshop.store, render_config(workshop.recipe.render)
    for parts in _containers(_parts(workshop, partition, wanted), store.folder):
        keys = [key for part in parts for key in part.missing]
        yield RenderTask(
            parts=tuple(parts),
            sized=partition.sized.key,
            root=workshop.sources[parts[0].source].root,
            config=config,
            key=spec_digest({"stage": "render", **config.spec(), "keys": keys}),
            store=store,
        )


def _parts(workshop: Workshop, partition: Partition, wanted: pa.Table) -> Iterator[RenderPart]:
    """What is missing of each block."""
    store = workshop.store
    known = set(workshop.rendered.of(asked_for(wanted)).column("key").to_pylist())
    keys = list(zip(*(wanted.column(name).to_pylist() for name in ("key", "xyz_key")), strict=True))
    sizes = store.read("sized", partition.sized.key).column("bytes").to_numpy()
    row = wanted.column("sized_row").to_numpy()
    first = 0
    places: Mapping[int, np.ndarray] = by_block(wanted.column("block").to_numpy())
    for number, block in enumerate(partition.blocks):
        mine = places.get(number, np.zeros(0, np.int64))
        asked = [key for key in chain.from_iterable(keys[place] for place in mine) if key]
        missing = tuple(dict.fromkeys(key for key in asked if key not in known))
        known.update(missing)
        if missing:
            size = int(sizes[np.unique(row[mine])].sum()) * len(missing) // len(asked)
            key, one = block.surveyed.key, block.stand_in
            yield RenderPart(key, block.source, one, first, missing, size)
        first += block.surveyed.rows


def _containers(parts: Iterable[RenderPart], cache: Folder) -> Iterator[list[RenderPart]]:
    """Which blocks share a container: of a local cache none, every block is a task."""
    together: list[RenderPart] = []
    for part in parts:
        full = isinstance(cache, LocalFolder) or len(together) == _MAX_BLOCKS
        if together and (
            full
            or together[0].source != part.source
            or sum(one.size for one in together) >= _CONTAINER_BYTES
        ):
            yield together
            together = []
        together.append(part)
    if together:
        yield together


def run_render(task: RenderTask) -> Receipt:
    """Render the missing payloads of some blocks: the container first, then its index, then the
    receipt.
    """
    store = task.store
    with store.new_path(store.path("rendered", task.key, ".bin")) as container:
        table = render_block(job_of(task), container)
    return store.write("rendered", task.key, table)


class Encoding:
    """The same with features, in an actor that has loaded their encoder."""

    def __init__(self, encoder: EncoderConfig, cpus: int) -> None:
        from workers.encode_block import BlockEncoder  # torch and transformers: seconds

        self._encode = BlockEncoder(encoder, cpus)

    def __call__(self, task: RenderTask) -> Receipt:
        """Encode the missing payloads of some blocks."""
        store = task.store
        with store.new_path(store.path("rendered", task.key, ".bin")) as container:
            made = self._encode(job_of(task), container)
        facts = {"patches": made.patches, "halved_batches": made.halved}
        return store.write("rendered", task.key, made.index, facts=facts)


def pool_of(encoder: EncoderConfig) -> ActorPool:
    """The actors that an encoder's section asks for; on a GPU a block is computed while the one
    before it is written and the one behind it is decoded.
    """
    on_gpu = encoder.device == "cuda"
    num_gpus, at_once = (encoder.num_gpus, 2) if on_gpu else (0.0, 1)
    return ActorPool(encoder.min_actors, encoder.max_actors, num_gpus, encoder.cpus, at_once)


def job_of(task: RenderTask) -> RenderJob:
    """What the workers take of a task."""
    store = task.store
    surveyed, sized = zip(*(_kept(store, task.sized, part) for part in task.parts), strict=True)
    places = [stand_ins(part.stand_in, store) for part in task.parts]
    return RenderJob(
        pa.concat_tables(surveyed),
        pa.concat_tables(sized),
        MediaPlace(task.root, {path: at for one in places for path, at in one.items()}),
        frozenset(key for part in task.parts for key in part.missing),
        task.config,
    )


def _kept(store: Store, sized: str, part: RenderPart) -> tuple[pa.Table, pa.Table]:
    """Rows of the block's SURVEYED and of SIZED that are not dropped."""
    surveyed = store.read("surveyed", part.surveyed)
    rows = store.read("sized", sized).slice(part.first, len(surveyed))
    kept = pa.array(np.flatnonzero(pc.is_null(rows.column("drop")).to_numpy()))
    return surveyed.take(kept), rows.take(kept)
