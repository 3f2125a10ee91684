"""The captions of a version: one table beside its manifest with every request and what became of
it, and the totals of each pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipelines.plan import Partition
from pipelines.publish import captions_name
from pipelines.published import by_partition, read_table, write_table
from pipelines.steps import Workshop
from schemas.manifest import Captions, Manifest, PartitionEntry
from schemas.tables import CAPTIONED, CAPTIONS
from workers.caption_passes import caption_passes


def describe_captions(
    workshop: Workshop, parts: Sequence[Partition | PartitionEntry], base: Manifest | None
) -> Captions | None:
    """Of partitions that were made, and of those that are taken over from `base`; None where no
    model was asked.
    """
    before: Mapping[str, pa.Table] = {}
    if base and base.captions and not all(isinstance(one, Partition) for one in parts):
        before = by_partition(read_table(workshop.output, base.captions.name))
    table = pa.concat_tables(
        [CAPTIONS.empty_table()]
        + [
            _made(workshop, one)
            if isinstance(one, Partition)
            else before.get(one.name, CAPTIONS.empty_table())
            for one in parts
        ]
    )
    if not len(table):
        return None
    sha256, name = write_table(workshop.output, table, CAPTIONS, captions_name)
    return Captions(name=name, sha256=sha256, requests=len(table), passes=caption_passes(table))


def _made(workshop: Workshop, partition: Partition) -> pa.Table:
    keys = [
        one.key for block in partition.blocks for one in block.captions if one.stage == "captioned"
    ]
    tables = workshop.store.read_all("captioned", keys)
    table = pa.concat_tables([CAPTIONED.empty_table(), *tables])
    names = pa.array([partition.name] * len(table), pa.string())
    return table.add_column(0, CAPTIONS.field("partition"), names)
