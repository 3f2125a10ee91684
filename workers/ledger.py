"""The ledger: one row an input sample, its pack or the reason why it has none. It must add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import one_chunk
from schemas.errors import BuildError
from schemas.tables import LEDGER, conform

Named = Callable[[int], tuple[str, str]]
"""Pack number -> key of the pack, name of its shard."""


def ledger(
    sized: pa.Table, packed: pa.Table, surveyed: Sequence[pa.Table], partition: str, named: Named
) -> pa.Table:
    """LEDGER of one partition: one row for each instance, and one for each dropped sample."""
    sources = _joined(surveyed, "source")
    origins = _joined(surveyed, "origin")
    notes = [note for table in surveyed for note in _notes(table)]
    ids, tokens = sized.column("sample_id").to_pylist(), sized.column("length").to_pylist()
    drops, messages = sized.column("drop").to_pylist(), sized.column("message").to_pylist()
    packs: dict[int, list[tuple[int, int]]] = {}
    columns = (packed.column(name).to_pylist() for name in ("sized_row", "copy", "pack"))
    for row, copy, pack in zip(*columns, strict=True):
        packs.setdefault(row, []).append((copy, pack))
    rows: list[tuple[object, ...]] = []
    for row, sample_id in enumerate(ids):
        head = (sources[row], origins[row], partition)
        if drops[row] is not None:
            rows.append((sample_id, -1, *head, "", "", 0, notes[row], drops[row], messages[row]))
        for copy, pack in sorted(packs.get(row, [])):
            rows.append((sample_id, copy, *head, *named(pack), tokens[row], notes[row], None, None))
    filled = list(zip(*rows, strict=True)) if rows else [()] * len(LEDGER)
    arrays = [pa.array(column, field.type) for column, field in zip(filled, LEDGER, strict=True)]
    table = conform(pa.Table.from_arrays(arrays, schema=LEDGER), LEDGER)
    check(table, sized, packed)
    return table


def check(table: pa.Table, sized: pa.Table, packed: pa.Table) -> None:
    """Raises BuildError unless every sample is packed as often as it must be, or is dropped."""
    copies = sized.column("copies").to_numpy()
    kept = sized.column("drop").is_null().to_numpy()
    made = np.bincount(packed.column("sized_row").to_numpy(), minlength=len(sized))
    dropped = len(table) - table.column("drop").null_count
    wrong = np.flatnonzero((made != copies) | ((copies > 0) != kept))
    if len(wrong) or dropped != np.count_nonzero(~kept) or len(table) - dropped != len(packed):
        raise BuildError(
            f"the ledger does not add up: {len(sized)} samples, {dropped} of "
            f"{np.count_nonzero(~kept)} drops and {len(table) - dropped} of {len(packed)} "
            f"instances recorded, {len(wrong)} samples not packed as often as planned"
        )


def drop_counts(table: pa.Table) -> dict[str, int]:
    """How many samples were dropped for each reason, by name."""
    return dict(sorted(Counter(table.column("drop").drop_null().to_pylist()).items()))


def _joined(tables: Sequence[pa.Table], name: str) -> list[str]:
    return [value for table in tables for value in table.column(name).to_pylist()]


def _notes(table: pa.Table) -> list[list[str]]:
    """The notes of each row's media, each once, in order."""
    lists = one_chunk(table.column("items"))
    notes: list[list[str]] = [[] for _ in range(len(table))]
    parents = pc.list_parent_indices(lists).to_pylist()
    for row, words in zip(
        parents, pc.struct_field(lists.flatten(), "notes").to_pylist(), strict=True
    ):
        notes[row] += [word for word in words if word not in notes[row]]
    return notes
