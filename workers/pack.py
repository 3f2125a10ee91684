"""pack: which samples share a pack, and where each pack stands.

1. Instances (a sample once a copy) are sorted by length, equal lengths by a seeded hash, and
packed best-fit.
2. Packs are sorted by attention cost and cut into rows of `lanes` packs, so that the packs of a
row, which
   data-parallel ranks read in the same step, cost nearly the same; fillers complete the last row.
3. Rows are shuffled by the seed (the one with fillers stays last), lanes are mirrored by one XOR
mask a row.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.columns import Ints
from schemas.tables import PACKED, conform
from workers.best_fit import best_fit

VERSION = 1

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class PackConfig:
    """Tokens a pack, packs a row (a power of two), and the seed of every order."""

    capacity: int
    lanes: int
    seed: int


@dataclass(frozen=True)
class PackTotals:
    """Figures of one partition."""

    packs: int
    fillers: int
    rows: int
    tokens: int
    lower_bound: int


def pack(sized: pa.Table, config: PackConfig) -> tuple[pa.Table, PackTotals]:
    """PACKED in written order, and its totals; `sized` is a partition's SIZED table."""
    copies = sized.column("copies").to_numpy().astype(np.int64)
    row = np.repeat(np.arange(len(sized)), copies)
    copy = np.arange(len(row)) - np.repeat(np.cumsum(copies) - copies, copies)
    lengths = sized.column("tokens").to_numpy()[row]
    attention = sized.column("attention").to_numpy()[row]
    hashes = _instance_hashes(
        sized.column("sample_id").take(pa.array(row)).to_pylist(), copy, config.seed
    )

    longest_first = np.lexsort((hashes, -lengths))
    opened = np.empty(len(row), np.int64)
    opened[longest_first] = best_fit(lengths[longest_first], config.capacity)
    packs = int(opened.max()) + 1 if len(row) else 0
    number = _written_order(opened, attention, config, packs)[opened] if packs else opened

    order = np.lexsort((hashes, number))
    number, row, lengths = number[order], row[order], lengths[order]
    first = np.searchsorted(number, number)  # the first instance of the same pack
    before = np.cumsum(lengths) - lengths
    table = pa.table(
        {
            "sample_id": sized.column("sample_id").take(pa.array(row)),
            "copy": pa.array(copy[order], pa.int32()),
            "block": sized.column("block").take(pa.array(row)),
            "row": sized.column("row").take(pa.array(row)),
            "sized_row": pa.array(row, pa.int32()),
            "pack": pa.array(number, pa.int32()),
            "place": pa.array(np.arange(len(row)) - first, pa.int32()),
            "offset": pa.array(before - before[first], pa.int32())
            if len(row)
            else pa.array([], pa.int32()),
            "lane": pa.array(number % config.lanes, pa.int32()),
            "pack_row": pa.array(number // config.lanes, pa.int32()),
        }
    ).cast(PACKED)
    rows = -(-packs // config.lanes)
    total = int(lengths.sum())
    totals = PackTotals(
        packs, rows * config.lanes - packs, rows, total, -(-total // config.capacity)
    )
    return conform(table, PACKED), totals


def _written_order(opened: Ints, attention: Ints, config: PackConfig, packs: int) -> Ints:
    """The number of each pack in the global order, row by row."""
    cost = np.zeros(packs, np.int64)
    np.add.at(cost, opened, attention)
    by_cost = np.argsort(-cost, kind="stable")
    full_rows = packs // config.lanes
    draws = np.random.Generator(np.random.Philox(config.seed))
    row_place = np.append(draws.permutation(full_rows), full_rows)
    masks = np.append(draws.integers(0, config.lanes, full_rows), 0)
    rank = np.arange(packs)
    row, lane = rank // config.lanes, rank % config.lanes
    number = np.empty(packs, np.int64)
    number[by_cost] = row_place[row] * config.lanes + (lane ^ masks[row])
    return number


def _instance_hashes(sample_ids: list[str], copies: Ints, seed: int) -> Hashes:
    """A seeded 64-bit hash of each instance, the same wherever and in whatever order it is met."""
    prefix = f"{seed}/instance/".encode()
    digests = (
        hashlib.blake2b(prefix + sample_id.encode() + b"/%d" % copy, digest_size=8).digest()
        for sample_id, copy in zip(sample_ids, copies.tolist(), strict=True)
    )
    return np.frombuffer(b"".join(digests), "<u8")
