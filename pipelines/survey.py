"""survey: each block of the sources becomes a SURVEYED table on Ray.

A block is done when its table exists and every file that it read still has the size and version
that it had.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pipelines.finding import TEXT_FORMATS, Found
from pipelines.steps import Block, StandIn, Workshop, stand_ins
from pipelines.store import FileState, Receipt, Store
from schemas.digest import spec_digest
from schemas.errors import RecipeError
from schemas.libraries import version
from workers import survey as stage
from workers.region_texts import places_in
from workers.sources import folder, parquet, webdataset
from workers.sources.block import Block as Range
from workers.sources.sample import Sample
from workers.storage.folder import Folder


@dataclass(frozen=True)
class SurveyTask:
    """One block to survey."""

    source: str
    kind: str
    options: Any
    files: Folder
    root: Folder
    block: Range
    indexed: str
    stand_in: StandIn | None
    states: tuple[FileState, ...]
    key: str
    store: Store


def survey_blocks(workshop: Workshop, found: Mapping[str, list[Found]]) -> dict[str, list[Block]]:
    """Every block of every partition, surveyed."""
    store = workshop.store
    tasks = {id(one): _task(one, store) for one in chain.from_iterable(found.values())}
    receipts = store.receipts("surveyed", {task.key: task.root for task in tasks.values()})
    todo = {task.key: task for task in tasks.values() if receipts[task.key] is None}
    for receipt in workshop.run("survey", run_survey, list(todo.values())):
        receipts[receipt.key] = receipt
    blocks: dict[str, list[Block]] = {}
    for partition, members in found.items():
        for one in members:
            done = receipts[tasks[id(one)].key]
            assert done is not None  # made above
            block = Block(one.source.name, one.files, done, stand_in=one.stand_in)
            blocks.setdefault(partition, []).append(block)
    if not any(block.surveyed.rows for block in chain.from_iterable(blocks.values())):
        raise RecipeError("sources: there is no record in them")
    return blocks


def run_survey(task: SurveyTask) -> Receipt:
    """Survey one block and keep its table."""
    places = task.root, stand_ins(task.stand_in, task.store)
    with task.store.scratch.staging() as staging:
        spec = stage.SurveySpec(task.source, *places, staging)
        table, inputs = stage.survey(spec, _samples(task))
    states = {read.path: FileState(read.path, read.size, read.version) for read in inputs}
    states |= {state.path: state for state in task.states}
    facts = {"places": places_in(table)}
    return task.store.write("surveyed", task.key, table, tuple(states.values()), facts)


def _samples(task: SurveyTask) -> Iterator[tuple[Sample, str]]:
    """The samples of the block, each with its origin."""
    block, options = task.block, task.options
    if task.kind in TEXT_FORMATS:
        read: Iterator[tuple[Sample, str]] = TEXT_FORMATS[task.kind].read(
            task.files, block, options
        )
        return read
    table = task.store.read("indexed", task.indexed)
    if task.kind == "folder":
        return folder.read(task.files, block, options, table)
    if task.kind == "parquet":
        return parquet.read(table, block, options)
    if task.stand_in:
        at = task.stand_in.cached
        return webdataset.read(task.store.folder, block, options, table, at)
    return webdataset.read(task.files, block, options, table)


def _task(found: Found, store: Store) -> SurveyTask:
    source, block = found.source, found.block
    key = spec_digest(
        {
            "stage": "survey",
            "version": stage.VERSION,
            "libraries": {name: version(name) for name in ("pillow", "av")},
            "source": source.name,
            "options": source.options.model_dump(mode="json"),
            "path": block.path,
            # where a listing of media stands says nothing of what is in it
            "range": None if source.kind == "folder" else [block.start, block.end, block.first_row],
            "content": found.content,
        }
    )
    return SurveyTask(
        source=source.name,
        kind=source.kind,
        options=source.options,
        files=source.files,
        root=source.root,
        block=block,
        indexed=found.indexed,
        stand_in=found.stand_in,
        states=found.states,
        key=key,
        store=store,
    )
