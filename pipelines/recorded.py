"""What is known of rendered payloads from their index: faults of media, digests of features."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.plan import Partition
from pipelines.select import Faults
from pipelines.steps import Workshop
from schemas.columns import one_chunk


def known_faults(index: pa.Table, wanted: pa.Table) -> Faults:
    """Media and depth maps that this plan asks for and that are known not to decode: reason and
    message by sha256.
    """
    faulty = index.filter(
        pc.and_(
            index.column("drop").is_valid(), pc.is_in(index["key"], value_set=asked_for(wanted))
        )
    )
    columns = (faulty.column(name).to_pylist() for name in ("key", "sha256", "drop", "message"))
    # by key, so that of two faults of a medium the same one counts in whatever container it lies
    rows = sorted(zip(*columns, strict=True), reverse=True)
    return {sha256: (drop, message) for _, sha256, drop, message in rows}


def recorded(workshop: Workshop, partition: Partition, wanted: pa.Table) -> Partition:
    """The partition with the digest of its features, as far as they are there."""
    if workshop.recipe.render.encoder is None:
        return partition
    index = first_of_each(workshop.rendered.of(one_chunk(wanted.column("key"))))
    digests = index.column("digest").drop_null().to_pylist()
    devices = sorted(set(index.column("device").drop_null().to_pylist()))
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    return replace(partition, recorded=digest, devices=tuple(devices))


def first_of_each(index: pa.Table) -> pa.Table:
    """Rows of INDEX by key and part: a key may stand in two containers, after a crash between two
    builds, and the first one serves.
    """
    order = [("key", "ascending"), ("container", "ascending"), ("part", "ascending")]
    ordered = index.sort_by(order)
    codes = one_chunk(ordered.column("key")).dictionary_encode().indices.to_numpy()
    container = ordered.column("container").to_numpy()
    starts = np.searchsorted(codes, codes)
    return ordered.filter(pa.array(container == container[starts]))


def asked_for(wanted: pa.Table) -> pa.Array:
    """The keys of all payloads of these ADDRESSES."""
    return pa.concat_arrays([one_chunk(wanted["key"]), one_chunk(wanted["xyz_key"])])
