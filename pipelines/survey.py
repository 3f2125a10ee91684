"""survey: source files are cut into blocks, and each block becomes a SURVEYED table on Ray.

A block is done when its table exists and every file that it read still has the size and time
that it had.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pipelines.recipe import Source
from pipelines.steps import Block, Workshop
from pipelines.store import FileState, Receipt, Store
from schemas.digest import spec_digest
from schemas.errors import BuildError, RecipeError
from workers import survey as stage
from workers.sources.records import plan_blocks, range_sha256

ROWS_PER_BLOCK = 256


@dataclass(frozen=True)
class SurveyTask:
    """One block to survey."""

    spec: stage.SurveySpec
    sha256: str  # of the block's records
    key: str
    cache: Path


def survey_sources(workshop: Workshop) -> list[Block]:
    """Every block of every source, in recipe order, surveyed."""
    tasks = [task for source in workshop.recipe.sources for task in _tasks(source, workshop.store)]
    store = workshop.store
    found = ((task.key, store.receipt("surveyed", task.key, task.spec.root)) for task in tasks)
    receipts = {key: receipt for key, receipt in found if receipt}
    todo = [task for task in tasks if task.key not in receipts]
    for receipt in workshop.run("survey", run_survey, todo):
        receipts[receipt.key] = receipt
    return [Block(task.spec.source, receipts[task.key]) for task in tasks]


def run_survey(task: SurveyTask) -> Receipt:
    """Survey one block and keep its table."""
    spec = task.spec
    table, inputs = stage.survey(spec)
    if range_sha256(spec.records, spec.start, spec.end) != task.sha256:
        raise BuildError(f"{spec.records} changed while the build read it; build again")
    states = tuple(FileState(read.path, read.size, read.mtime_ns) for read in inputs)
    return Store(task.cache).write("surveyed", task.key, table, states)


def _tasks(source: Source, store: Store) -> list[SurveyTask]:
    assert source.root is not None  # set when the recipe is loaded
    if not source.root.is_dir():
        raise RecipeError(f"sources.{source.name}.root: {source.root} is not a folder")
    tasks = []
    try:
        blocks = plan_blocks(source.path, ROWS_PER_BLOCK)
    except OSError as error:
        place = f"sources.{source.name}.path"
        raise RecipeError(f"{place}: {source.path}: {error.strerror or error}") from error
    for block in blocks:
        spec = stage.SurveySpec(
            source=source.name,
            records=source.path,
            root=source.root,
            start=block.start,
            end=block.end,
            first_line=block.first_line,
        )
        key = spec_digest(
            {
                "stage": "survey",
                "version": stage.VERSION,
                "libraries": {name: version(name) for name in ("pillow", "av")},
                "source": source.name,
                "records": stage.relative_name(spec),
                "range": [block.start, block.end, block.first_line],
                "sha256": block.sha256,
            }
        )
        tasks.append(SurveyTask(spec, block.sha256, key, store.root))
    if not tasks:
        raise RecipeError(f"sources.{source.name}.path: {source.path} holds no record")
    return tasks
