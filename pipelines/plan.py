"""select, size and pack: all that is decided of a partition, on its small tables,
without a pixel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from pipelines.recipe import Render
from pipelines.select import Outside, select_partition
from pipelines.signals import Measured, measure
from pipelines.steps import Block, Workshop
from pipelines.store import Receipt, Store
from pipelines.text import text_spec
from schemas.columns import Ints, one_chunk
from schemas.digest import spec_digest
from schemas.libraries import version
from workers import pack as packing
from workers import select as selection
from workers import size as sizing
from workers.encoders.spec import encoder_spec
from workers.match import Match, Rule
from workers.packing.buckets import Packed
from workers.text_tokenizers import load_tokenizer
from workers.vision_ids import VisionIds

NO_IDS: Ints = np.zeros(0, np.uint64)


@dataclass(frozen=True)
class Partition:
    """A partition and its plan."""

    name: str
    blocks: tuple[Block, ...]
    selected: Receipt
    sized: Receipt
    packed: Receipt
    measured: tuple[Measured, ...]
    recorded: str = ""
    """Digest of its features: they are a device's answer, which nothing else tells."""
    devices: tuple[str, ...] = ()
    """That computed them."""

    @property
    def packs(self) -> int:
        """Packs with samples in them."""
        return self.packed.facts["packs"]

    @property
    def fillers(self) -> int:
        """Empty packs that complete the last row."""
        return self.packed.facts["fillers"]

    @property
    def rows(self) -> int:
        """Rows of the global order."""
        return self.packed.facts["rows"]

    def tables(self, store: Store) -> tuple[pa.Table, pa.Table]:
        """PACKED and SIZED."""
        return store.read("packed", self.packed.key), store.read("sized", self.sized.key)


def plan_partition(
    workshop: Workshop, name: str, blocks: Sequence[Block], outside: Outside
) -> Partition:
    """The partition's SELECTED, SIZED and PACKED tables."""
    measured = measure(workshop, blocks)
    selected = select_partition(workshop, blocks, outside, measured)
    sized = _size(workshop, blocks, selected)
    packed = _pack(workshop, sized)
    return Partition(name, tuple(blocks), selected, sized, packed, tuple(measured))


def sample_ids(workshop: Workshop, blocks: Sequence[Block]) -> Ints:
    """Sorted hashes of the ids in a partition, kept in the cache."""
    store = workshop.store
    key = ids_key([block.as_found.digest for block in blocks])
    if not store.receipt("ids", key):
        workshop.engine.local()
        tables = store.read_all("surveyed", [block.surveyed.key for block in blocks])
        ids = (one for table in tables for one in table.column("sample_id").to_pylist())
        store.write("ids", key, pa.table({"hash": hashed(ids)}))
    found: Ints = store.read("ids", key).column("hash").to_numpy()
    return found


def ids_key(surveyed: Sequence[str]) -> str:
    """Where they are kept, by the digests of the partition's SURVEYED tables as found."""
    return spec_digest({"stage": "ids", "surveyed": surveyed})


def hashed(ids: Iterable[str]) -> Ints:
    """Sorted hashes of sample ids, each once."""
    hashes: Ints = np.unique(np.fromiter(map(selection.id_hash, ids), np.uint64))
    return hashes


def in_earlier(ids: Sequence[Ints]) -> list[Ints]:
    """Of each partition's hashes, partitions in order, those that one before it has too."""
    joined = np.concatenate([NO_IDS, *ids])
    _, first = np.unique(joined, return_index=True)
    again = np.ones(len(joined), np.bool_)
    again[first] = False
    ends = np.cumsum([len(one) for one in ids])
    return [one[mask] for one, mask in zip(ids, np.split(again, ends[:-1]), strict=True)]


def _size(workshop: Workshop, blocks: Sequence[Block], selected: Receipt) -> Receipt:
    recipe, store = workshop.recipe, workshop.store
    key = spec_digest(
        {
            "stage": "size",
            "version": sizing.VERSION,
            "policy": policy_spec(workshop.rules),
            "text": text_spec(recipe.text),
            "limits": recipe.pack.limits.capacities,
            "segment_multiple": recipe.pack.segment_multiple,
            "render": _modelled(recipe.render),
            "selected": selected.digest,
            "surveyed": [block.surveyed.digest for block in blocks],
            "tokenized": [block.tokenized.digest for block in blocks if block.tokenized],
        }
    )
    if done := store.receipt("sized", key):
        return done
    workshop.engine.local()
    workshop.progress("size", 0, 1)
    surveyed = store.read_all("surveyed", [block.surveyed.key for block in blocks])
    table = sizing.size(
        store.read("selected", selected.key),
        surveyed,
        store.read_all("tokenized", [b.tokenized.key for b in blocks if b.tokenized]),
        _size_config(workshop, has_media=any(_has_media(table) for table in surveyed)),
    )
    workshop.progress("size", 1, 1)
    return store.write("sized", key, table)


def _size_config(workshop: Workshop, *, has_media: bool) -> sizing.SizeConfig:
    """Raises RecipeError when there is media and the tokenizer lacks the family's tokens."""
    recipe = workshop.recipe
    tokenizer = load_tokenizer(recipe.text)
    family = recipe.text.family
    ids = VisionIds.of(tokenizer, family) if has_media else VisionIds.without_media()
    return sizing.SizeConfig(
        rules=workshop.rules,
        limits=recipe.pack.limits,
        segment_multiple=recipe.pack.segment_multiple,
        payload=recipe.render.payload,
        codec=recipe.render.codec,
        **_rows(recipe.render),
        encode=tokenizer.encode,
        special=tokenizer.special,
        encode_documents=tokenizer.encode_documents,
        around_image=ids.image.overhead,
        around_video=ids.video.overhead,
    )


def _modelled(render: Render) -> list[object]:
    """What of the section shapes modelled bytes."""
    encoder = [encoder_spec(render.encoder)] if render.encoder else []
    return [render.payload, render.codec, *encoder]


def _rows(render: Render) -> dict[str, int]:
    """Bytes of a row of features, and the patches that become one."""
    if render.encoder is None:
        return {}
    from workers.encoders.loading import tower_shape  # torch and transformers: seconds

    shape = tower_shape(render.encoder)
    return {
        "row_bytes": shape.row_bytes(render.encoder.stored),
        "patches_a_row": shape.side**2,
    }


def _has_media(surveyed: pa.Table) -> bool:
    return len(one_chunk(surveyed.column("items")).flatten()) > 0


def _pack(workshop: Workshop, sized: Receipt) -> Receipt:
    recipe, store = workshop.recipe, workshop.store
    pack = recipe.pack
    bundle = pack.bundle if pack.mode == "isocost" else 0
    config = packing.PackConfig(pack.limits, pack.lanes, recipe.seed, pack.time, bundle)
    key = spec_digest(
        {
            "stage": "pack",
            "version": packing.VERSION,
            "libraries": {"numpy": version("numpy")},
            "seed": recipe.seed,
            "limits": asdict(config.limits),
            "lanes": config.lanes,
            "time": asdict(config.time),
            "bundle": config.bundle,
            "sized": sized.digest,
        }
    )
    if done := store.receipt("packed", key):
        return done
    workshop.engine.local()
    table = store.read("sized", sized.key)
    count, slices = packing.slices_of(table), None
    if count > 1:
        tasks = [SliceTask(store, sized.key, config, number) for number in range(count)]
        packed_slices = dict(workshop.run("pack", run_pack_slice, tasks))
        slices = [packed_slices[number] for number in range(count)]
    else:
        workshop.progress("pack", 0, 1)
    packed, totals = packing.pack(table, config, slices)
    if count == 1:
        workshop.progress("pack", 1, 1)
    return store.write("packed", key, packed, facts=vars(totals))


@dataclass(frozen=True)
class SliceTask:
    """A hash slice of a big partition to pack."""

    store: Store
    sized: str
    config: packing.PackConfig
    number: int


def run_pack_slice(task: SliceTask) -> tuple[int, Packed]:
    """The number of the slice, and its packs."""
    table = task.store.read("sized", task.sized)
    return task.number, packing.pack_slice(table, task.config, task.number)


def policy_spec(rules: Sequence[Rule]) -> list[object]:
    """What of policies shapes an output."""
    return [
        {
            **rule.policy.model_dump(mode="json"),
            "VERSION": rule.policy.VERSION,
            **({"match": rule.match.model_dump(mode="json")} if rule.match != Match() else {}),
        }
        for rule in rules
    ]
