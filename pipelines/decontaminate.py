"""Decontamination: what of a partition is on a benchmark list, a block and a list at a time.

A table is known by the contents of the block and of the list: a new list is held against all
blocks, a new block against all lists, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipelines.signals import Measured
from pipelines.steps import Block, Workshop
from pipelines.store import Receipt, Store
from schemas.digest import spec_digest
from workers.benchmark_list import contaminated, read_benchmark

VERSION = 1

FOUND = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
    ]
)
"""Rows of a block that are on a list."""


@dataclass(frozen=True)
class ListTask:
    """A block to be held against a list."""

    surveyed: str
    pictures: str
    path: str
    bits: int
    key: str
    store: Store


def listed_rows(
    workshop: Workshop, blocks: Sequence[Block], measured: Sequence[Measured]
) -> list[dict[int, str]]:
    """For each block the rows that are on a list, with what the first such list found."""
    select, store = workshop.recipe.select, workshop.store
    found: list[dict[int, str]] = [{} for _ in blocks]
    for path in select.benchmarks:
        digest = read_benchmark(path).digest
        tasks = [
            ListTask(
                surveyed=block.surveyed.key,
                pictures=one.receipts["picture"].key,
                path=path,
                bits=select.benchmark_bits,
                key=spec_digest(
                    {
                        "stage": "contaminated",
                        "version": VERSION,
                        "surveyed": block.surveyed.digest,
                        "pictures": one.receipts["picture"].digest,
                        "list": digest,
                        "bits": select.benchmark_bits,
                    }
                ),
                store=store,
            )
            for block, one in zip(blocks, measured, strict=True)
        ]
        receipts = store.receipts("contaminated", {task.key: None for task in tasks})
        todo = {task.key: task for task in tasks if receipts[task.key] is None}
        for _ in workshop.run("decontaminate", run_decontaminate, list(todo.values())):
            pass
        keys = [task.key for task in tasks]
        for rows, table in zip(found, store.read_all("contaminated", keys), strict=True):
            for row in table.to_pylist():
                rows.setdefault(row["row"], row["message"])
    return found


def benchmarks_spec(workshop: Workshop, measured: Sequence[Measured]) -> dict[str, object]:
    """What of lists shapes a selection; nothing where there is none, as before there were any."""
    select = workshop.recipe.select
    if not select.benchmarks:
        return {}
    return {
        "benchmarks": [read_benchmark(path).digest for path in select.benchmarks],
        "benchmark_bits": select.benchmark_bits,
        "pictures": [one.receipts["picture"].digest for one in measured],
        "decontaminate": VERSION,
    }


def run_decontaminate(task: ListTask) -> Receipt:
    """Hold a block against a list, and keep what was found."""
    surveyed = task.store.read("surveyed", task.surveyed)
    pictures = task.store.read("signals", task.pictures)
    rows = contaminated(surveyed, pictures, read_benchmark(task.path), task.bits)
    columns = [list(rows), list(rows.values())]
    arrays = [pa.array(one, field.type) for one, field in zip(columns, FOUND, strict=True)]
    return task.store.write("contaminated", task.key, pa.Table.from_arrays(arrays, schema=FOUND))
