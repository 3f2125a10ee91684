"""Samples that a list takes down: they leave their packs, and only these shards change.

The plan of a partition is made as if there were no list, so no other sample moves. A shard that
loses samples is written under another digest; what is left of a pack stays in its place.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.plan import Partition
from pipelines.render import kept_rows
from pipelines.steps import Workshop
from pipelines.store import Store
from schemas.columns import Ints, one_chunk
from schemas.digest import spec_digest
from schemas.reasons import Reason

MESSAGE = "named by select.take_down"


def taken_rows(workshop: Workshop, partition: Partition) -> Ints:
    """Rows of the partition's SIZED, ascending, that the list takes down."""
    listed = workshop.take_down
    if not listed:
        return np.zeros(0, np.int64)
    store = workshop.store
    sized = store.read("sized", partition.sized.key)
    named = pc.is_in(sized.column("sample_id"), value_set=pa.array(sorted(listed.ids), pa.string()))
    kept = pc.is_null(sized.column("drop"))
    rows = [np.flatnonzero(pc.and_(named, kept).to_numpy())]
    if listed.sha256:
        rows += list(_rows_by_media(store, partition, sized, sorted(listed.sha256)))
    return np.unique(np.concatenate(rows))


def _rows_by_media(
    store: Store, partition: Partition, sized: pa.Table, digests: list[str]
) -> list[Ints]:
    wanted, found = pa.array(digests, pa.string()), []
    for _, rows, surveyed in kept_rows(store, partition, sized):
        items = one_chunk(surveyed.column("items"))
        media, depth = (
            pc.is_in(pc.struct_field(items.flatten(), name), value_set=wanted)
            for name in ("sha256", "depth_sha256")
        )
        hit = pc.or_(media, depth)
        parents = pc.list_parent_indices(items).filter(hit).to_numpy()
        found.append(rows[parents])
    return found


def without(packed: pa.Table, rows: Ints) -> pa.Table:
    """PACKED without the instances of these samples."""
    if not len(rows):
        return packed
    return packed.filter(pa.array(~np.isin(packed.column("sized_row").to_numpy(), rows)))


def with_drops(sized: pa.Table, rows: Ints) -> pa.Table:
    """SIZED with these samples dropped."""
    if not len(rows):
        return sized
    changes: Mapping[str, object] = {
        "copies": 0,
        "drop": Reason.TAKEN_DOWN.value,
        "message": MESSAGE,
    }
    gone = np.zeros(len(sized), np.bool_)
    gone[rows] = True
    for name, value in changes.items():
        column = sized.column(name)
        changed = pc.if_else(pa.array(gone), pa.scalar(value, column.type), column)
        sized = sized.set_column(sized.column_names.index(name), sized.schema.field(name), changed)
    return sized


def shard_digest(partition: str, sample_ids: list[str]) -> str:
    """The digest that names a shard: its partition's, or another one for each set of samples that
    it has lost.
    """
    if not sample_ids:
        return partition
    return spec_digest({"partition": partition, "taken_down": sorted(sample_ids)})
