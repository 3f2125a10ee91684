"""Which bytes of which file every item of a partition takes: of a container, or of the source
itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.plan import Partition
from pipelines.recorded import first_of_each
from pipelines.render import kept_rows
from pipelines.steps import Workshop
from schemas.columns import Ints, one_chunk
from schemas.errors import BuildError
from workers.fetched import File, Span, Wanted
from workers.shard import Piece
from workers.storage.folder import Folder
from workers.storage.local import LocalFolder

PIECES = pa.schema(
    [
        pa.field("sized_row", pa.int32(), nullable=False),
        pa.field("item", pa.int32(), nullable=False),  # in its sample
        *(pa.field(name, pa.string(), nullable=False) for name in ("folder", "path")),
        *(pa.field(name, pa.int64(), nullable=False) for name in ("offset", "size")),
        *(pa.field(name, pa.string(), nullable=False) for name in ("format", "sha256")),
    ]
)
"""One row a picture, by `sized_row`, item and part; an item's `xyz` come after its pictures."""


def pieces_of(workshop: Workshop, partition: Partition, wanted: pa.Table) -> pa.Table:
    """PIECES of the partition; `wanted` are its ADDRESSES. Raises BuildError where a payload is not
    there.
    """
    row = wanted.column("sized_row").to_numpy()
    first = np.searchsorted(row, row)
    item = np.arange(len(row)) - first
    keys, places = one_chunk(wanted.column("key")), one_chunk(wanted.column("xyz_key"))
    direct = pc.equal(keys, "").to_numpy(zero_copy_only=False)
    lifted = pc.not_equal(places, "").to_numpy(zero_copy_only=False)
    made = _rendered(
        workshop,
        pa.concat_arrays([keys.filter(pa.array(~direct)), places.filter(pa.array(lifted))]),
        np.concatenate([row[~direct], row[lifted]]),
        np.concatenate([item[~direct], item[lifted]]),
    )
    # stable: what stands before among the parts of an item stays before
    return pa.concat_tables([*_direct(workshop, partition, direct), made]).sort_by(
        [("sized_row", "ascending"), ("item", "ascending")]
    )


def _rendered(workshop: Workshop, keys: pa.Array, row: Ints, item: Ints) -> pa.Table:
    index, containers = workshop.rendered.of(keys), workshop.rendered.containers
    index = index.filter(index.column("drop").is_null())
    index = first_of_each(index)
    encoded = one_chunk(index.column("key")).dictionary_encode()
    codes = encoded.indices.to_numpy()
    found = pc.index_in(keys, value_set=encoded.dictionary)
    if found.null_count:
        raise BuildError(f"{found.null_count} payloads are missing from the cache; build again")
    code = found.to_numpy()
    starts = np.searchsorted(codes, np.arange(len(encoded.dictionary)))
    counts = np.bincount(codes, minlength=len(starts))
    take = np.repeat(starts[code] - np.cumsum(counts[code]) + counts[code], counts[code])
    chosen = index.take(pa.array(np.arange(len(take)) + take))
    n = len(chosen)
    columns = [
        np.repeat(row, counts[code]),
        np.repeat(item, counts[code]),
        pa.array([""] * n, pa.string()),
        pa.array(
            [containers[number] for number in chosen.column("container").to_pylist()], pa.string()
        ),
        *(chosen.column(name) for name in ("offset", "size", "format")),
        pa.array([""] * n, pa.string()),
    ]
    return pa.table(columns, names=PIECES.names).cast(PIECES)


def _direct(workshop: Workshop, partition: Partition, direct: np.ndarray) -> Iterator[pa.Table]:
    """Items that keep the bytes of their source file."""
    if not direct.any():
        return
    sized = workshop.store.read("sized", partition.sized.key)
    done = 0
    for number, rows, surveyed in kept_rows(workshop.store, partition, sized):
        lists = one_chunk(surveyed.column("items"))
        fields, counts = lists.flatten(), pc.list_value_length(lists).to_numpy()
        here = direct[done : done + len(fields)]
        done += len(fields)
        item = np.arange(len(fields)) - np.repeat(np.cumsum(counts) - counts, counts)
        block = partition.blocks[number]
        paths = pc.struct_field(fields, "path").to_pylist()
        places = [(block.source, path) for path in paths]
        if one := block.stand_in:
            places = [
                ("", one.cached) if path == one.path else (name, path) for name, path in places
            ]
        columns = [
            np.repeat(rows, counts),
            item,
            pa.array([name for name, _ in places], pa.string()),
            pa.array([path for _, path in places], pa.string()),
            *(pc.struct_field(fields, name) for name in ("offset", "size", "format", "sha256")),
        ]
        yield pa.table(columns, names=PIECES.names).cast(PIECES).filter(pa.array(here))


def shard_pieces(pieces: pa.Table, sized_rows: Ints) -> pa.Table:
    """The pieces of these samples."""
    return pieces.filter(
        pc.is_in(pieces.column("sized_row"), value_set=pa.array(sized_rows, pa.int32()))
    )


def remote_spans(pieces: pa.Table, folders: Mapping[str, Folder]) -> Wanted:
    """The bytes of each file in a remote folder that these pieces take."""
    remote = [n for n, folder in folders.items() if not isinstance(folder, LocalFolder)]
    mine = pieces.filter(pc.is_in(pieces.column("folder"), value_set=pa.array(remote, pa.string())))
    columns = (mine.column(name).to_pylist() for name in ("folder", "path", "offset", "size"))
    wanted: dict[File, list[Span]] = {}
    for folder, path, offset, size in zip(*columns, strict=True):
        wanted.setdefault(File(folder, path), []).append(Span(offset, size))
    return wanted


def by_sample(pieces: pa.Table) -> dict[int, list[list[Piece]]]:
    """For each sample, by its row in SIZED, the pieces of each item."""
    columns = [pieces.column(name).to_pylist() for name in PIECES.names]
    samples: dict[int, list[list[Piece]]] = {}
    for row, item, *piece in zip(*columns, strict=True):
        items = samples.setdefault(row, [])
        if item == len(items):
            items.append([])
        items[item].append(Piece(*piece))
    return samples
