"""A few hundred packs of one consumer at a time: where they lie, by the indexes of their shards.

So what is asked once a pack costs a column of numbers, and what is open is what two chunks need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patchpack.checks import Entry
from patchpack.dataset import Dataset, Shard
from patchpack.index import Index
from patchpack.indexes import Indexes
from patchpack.order import Ints
from patchpack.plan import Places
from patchpack.spans import Span, Spans

CHUNK_PACKS = 256

_ENTRY = ("key", "offset", "size", "header_offset", "header_size", "header_crc32")
_COLUMNS = (*_ENTRY, "arrays_offset", "arrays_size", "arrays_crc32")


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Packs in their order: `entries[i]` lies in `spans[i]`; every list is as long."""

    entries: list[Entry]
    spans: list[Span]
    rows: list[int]
    """In the partition."""
    had: list[bool]
    """Handed out before, in a step that was not whole for this number of ranks."""


def chunk_of(places: Places, datasets: Sequence[Dataset], indexes: Indexes, spans: Spans) -> Chunk:
    """The packs at these places. Raises DamageError for an index that is missing or damaged."""
    columns = np.stack([places.dataset, places.stripe, places.lane], axis=1)
    unique, number = np.unique(columns, axis=0, return_inverse=True)
    number = number.reshape(-1)
    pairs = [_shard(datasets, *triple) for triple in unique.tolist()]
    found = indexes.of(pairs)
    order = np.argsort(number, kind="stable")
    back = np.argsort(order, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(len(pairs) + 1))
    rows: list[Index] = []
    of_packs: list[Span] = []
    for one, (pair, index) in enumerate(zip(pairs, found, strict=True)):
        chosen: Ints = places.row[order[bounds[one] : bounds[one + 1]]]
        rows.append(index[chosen])
        cut, place = spans.of(*pair, index)
        of_packs += [cut[which] for which in place[chosen].tolist()]
    table = np.concatenate(rows)[back]
    values = [table[name].tolist() for name in _COLUMNS]
    return Chunk(
        entries=[Entry(*row) for row in zip(*values, strict=True)],
        spans=[of_packs[place] for place in back.tolist()],
        rows=table["row"].tolist(),
        had=[False] * len(table),
    )


def _shard(
    datasets: Sequence[Dataset], which: int, stripe: int, lane: int
) -> tuple[Dataset, Shard]:
    return datasets[which], datasets[which].stripes[stripe][lane]
