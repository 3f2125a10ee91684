"""A few hundred packs of one consumer at a time: where they lie, by the indexes of their shards.

So what is asked once a pack costs a column of numbers, and what is open is what two chunks need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchpack.checks import Row
from patchpack.dataset import Dataset, Shard
from patchpack.indexes import Indexes
from patchpack.order import Ints, distinct
from patchpack.plan import Places
from patchpack.spans import Span, Spans

CHUNK_PACKS = 1024
REMOTE_CHUNK_PACKS = 128
"""Where each pack may lie in a file of its own, and is fetched a chunk ahead."""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Packs in their order: `entries[i]` lies in `spans[i]`; every list is as long."""

    entries: Sequence[Row]
    spans: Sequence[Span]
    rows: list[int]
    """In the stripe set."""
    had: list[bool]
    """Handed out before, in a step that was not whole for this number of ranks; [] for none."""


def chunk_of(
    places: Places,
    had: npt.NDArray[np.bool_],
    datasets: Sequence[Dataset],
    indexes: Indexes,
    spans: Spans,
) -> Chunk:
    """The packs at these places, some of which were `had` before.

    Raises DamageError for an index that is missing or damaged.
    """
    stripes = max(len(dataset.stripes) for dataset in datasets)
    lanes = max(dataset.lanes for dataset in datasets)
    shards = (places.dataset * stripes + places.stripe) * lanes + places.lane
    unique = distinct(shards)
    number = np.searchsorted(unique, shards)
    pairs = [
        _shard(datasets, one // (stripes * lanes), one // lanes % stripes, one % lanes)
        for one in unique.tolist()
    ]
    found = indexes.of(pairs)
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(len(pairs) + 1))
    parts, lie_in = [], []
    for one, (pair, columns) in enumerate(zip(pairs, found, strict=True)):
        rows: Ints = places.row[order[bounds[one] : bounds[one + 1]]]
        parts.append((columns.keys[rows], columns.numbers[rows]))
        lie_in += spans.of(*pair, columns.numbers[:, 0], rows)
    # back from the order of shards, in which they were looked up, to that of the plan
    back = np.argsort(order)
    keys, numbers = (np.concatenate(part)[back] for part in zip(*parts, strict=True))
    return Chunk(
        entries=list(zip(keys.tolist(), *numbers.T.tolist(), strict=True)),
        spans=[lie_in[place] for place in back.tolist()],
        rows=places.row.tolist(),
        had=had.tolist() if had.any() else [],
    )


def _shard(
    datasets: Sequence[Dataset], which: int, stripe: int, lane: int
) -> tuple[Dataset, Shard]:
    return datasets[which], datasets[which].stripes[stripe][lane]
