"""select: which samples stay, and how many copies of each.

Nothing is removed: a dropped sample keeps its row with a reason. Here it keeps all but what
cannot be used or is not wanted: faults found by the survey or by rendering, ids that came before,
clauses that fail, weights that leave no copy. What a recipe does not ask for, by a weight or as the
other side of a split, has no faults: they count where it is asked for, and a small share is not
drowned in the faults of all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import one_chunk
from schemas.reasons import Reason
from schemas.tables import SELECTED, conform
from workers.measure import place_of

VERSION = 3


@dataclass(frozen=True)
class SelectConfig:
    """What decides: mean copies of a sample by source, the seed, and the rest by default nothing.

    `faults` are (reason, message) by sha256 of media that failed to render; `earlier_ids` hashes of
    ids that earlier partitions have; `held_out` the share that is held out, and `part` the side
    that stays.
    """

    weights: Mapping[str, float]
    seed: int
    faults: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    earlier_ids: frozenset[int] = frozenset()
    held_out: float = 0.0
    part: Literal["train", "held_out"] = "train"
    failed: Sequence[Mapping[int, str]] = ()
    """For each block the rows that fail a clause, with the clause; by default none."""
    contaminated: Sequence[Mapping[int, str]] = ()
    """For each block the rows that are on a benchmark list, with what was found."""


def select(blocks: Sequence[pa.Table], config: SelectConfig) -> pa.Table:
    """SELECTED for the SURVEYED tables of one partition, in block order."""
    seen: dict[str, str] = {}
    tables = [_select_block(number, block, config, seen) for number, block in enumerate(blocks)]
    return conform(pa.concat_tables(tables or [SELECTED.empty_table()]), SELECTED)


def _select_block(
    number: int, block: pa.Table, config: SelectConfig, seen: dict[str, str]
) -> pa.Table:
    ids, sources, origins = (
        block.column(name).to_pylist() for name in ("sample_id", "source", "origin")
    )
    drops, messages = block.column("drop").to_pylist(), block.column("message").to_pylist()
    for row, fault in _media_faults(block, config.faults).items():
        if drops[row] is None:
            drops[row], messages[row] = fault
    copies = []
    failed = config.failed[number] if config.failed else {}
    listed = config.contaminated[number] if config.contaminated else {}
    for row, sample_id in enumerate(ids):
        weight = config.weights[sources[row]]
        count = copies_of(sample_id, weight, config.seed)
        if not count:
            left = f"weight {weight} left no copy" if weight else "the weight of its source is 0"
            drops[row], messages[row] = Reason.ZERO_WEIGHT.value, left
        elif side := _other_side(sample_id, config):
            drops[row], messages[row] = Reason.HELD_OUT.value, side
        elif drops[row] is None:
            drops[row], messages[row] = _duplicate(sample_id, config, seen)
            if drops[row] is None and row in failed:
                drops[row], messages[row] = Reason.FILTERED.value, failed[row]
            if drops[row] is None and row in listed:
                drops[row], messages[row] = Reason.CONTAMINATED.value, listed[row]
        seen.setdefault(sample_id, origins[row])
        copies.append(count if drops[row] is None else 0)
    columns = [ids, [number] * len(ids), list(range(len(ids))), copies, drops, messages]
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, SELECTED, strict=True)],
        schema=SELECTED,
    )


def _other_side(sample_id: str, config: SelectConfig) -> str | None:
    if not config.held_out:
        return None
    if is_held_out(sample_id, config.held_out) != (config.part == "train"):
        return None
    side = "held out" if config.part == "train" else "no part of what is held out"
    return f"{side}: split.held_out = {config.held_out}"


def _duplicate(
    sample_id: str, config: SelectConfig, seen: Mapping[str, str]
) -> tuple[str | None, str | None]:
    if sample_id in seen:
        return Reason.DUPLICATE_ID.value, f"same id as {seen[sample_id]}"
    if config.earlier_ids and id_hash(sample_id) in config.earlier_ids:
        return Reason.DUPLICATE_ID.value, "an earlier partition has this id"
    return None, None


def id_hash(sample_id: str) -> int:
    """64 bits of the id."""
    digest = hashlib.blake2b(sample_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def is_held_out(sample_id: str, share: float) -> bool:
    """Whether a sample is in the held-out part: by its id alone, so in every version alike."""
    digest = hashlib.sha256(f"held_out/{sample_id}".encode()).digest()
    return int.from_bytes(digest[:8], "little") / 2**64 < share


def copies_of(sample_id: str, weight: float, seed: int) -> int:
    """Instances of a sample: the whole part of the weight, and one more for a seeded share of the
    samples.

    >>> [copies_of("a/1", 2.0, 0), copies_of("a/1", 0.0, 0)]
    [2, 0]
    """
    whole = int(weight)
    draw = hashlib.sha256(f"{seed}/copies/{sample_id}".encode()).digest()
    share = int.from_bytes(draw[:8], "little") / 2**64
    return whole + (share < weight - whole)


def _media_faults(
    block: pa.Table, faults: Mapping[str, tuple[str, str]]
) -> dict[int, tuple[str, str]]:
    """The first fault of each row whose media failed to render, with the place of the file."""
    if not faults or not block.num_rows:
        return {}
    items = one_chunk(block.column("items"))
    parents = pc.list_parent_indices(items).to_pylist()
    fields = items.flatten()
    found: dict[int, tuple[str, str]] = {}
    for row, *files in zip(
        parents, *(_files(fields, kind) for kind in ("", "depth_")), strict=True
    ):
        for sha256, *place in files:
            if sha256 in faults:
                reason, message = faults[sha256]
                found.setdefault(row, (reason, f"{place_of(*place)}: {message}"))
    return found


def _files(items: pa.StructArray, kind: str) -> Iterator[tuple[Any, ...]]:
    """sha256, path, member, offset and size of each item, or of its depth map."""
    names = ("sha256", "path", "member", "offset", "size")
    columns = (pc.struct_field(items, f"{kind}{name}").to_pylist() for name in names)
    return zip(*columns, strict=True)
