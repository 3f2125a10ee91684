"""signals: what clauses need of pictures and texts, measured on Ray a block at a time, once.

A table of pictures is known by the contents of the block's media, one of texts by its SURVEYED
table: another threshold reads them again, and another text leaves the pictures alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.model_signals import measure_models
from pipelines.recipe import Recipe
from pipelines.select_recipe import Select
from pipelines.steps import Block, StandIn, Workshop, stand_ins
from pipelines.store import Receipt, Store
from schemas.columns import one_chunk
from schemas.digest import spec_digest
from schemas.libraries import version
from workers.media_files import MediaFiles
from workers.signals import minhash, motion, picture, words
from workers.signals.clauses import Bools, fails, used_signals
from workers.signals.measured import (
    failing,
    measure_pictures,
    measure_texts,
    measure_videos,
    signals_of,
    sound,
    video_content,
)
from workers.signals.names import Origin
from workers.storage.folder import Folder


class _Shape(NamedTuple):
    """What shapes the tables of an origin."""

    version: int | list[int]
    libraries: tuple[str, ...]


_SHAPES: Mapping[Origin, _Shape] = {
    "picture": _Shape(picture.VERSION, ("opencv-python-headless", "pillow")),
    "video": _Shape(motion.VERSION, ("av", "opencv-python-headless")),
    "text": _Shape([words.VERSION, minhash.VERSION], ("datasketch", "py3langid")),
}


@dataclass(frozen=True)
class Measured:
    """The tables of signals of one block that its clauses need: by origin, and by name those that a
    model measured.
    """

    receipts: Mapping[str, Receipt]

    @property
    def digests(self) -> list[str]:
        """Of their content."""
        return [receipt.digest for receipt in self.receipts.values()]


@dataclass(frozen=True)
class SignalTask:
    """One table to measure."""

    origin: Origin
    surveyed: str
    root: Folder
    stand_in: StandIn | None
    key: str
    store: Store


def measure(workshop: Workshop, blocks: Sequence[Block]) -> list[Measured]:
    """The signals of each block; what is missing is measured."""
    tasks = [_tasks(workshop, block) for block in blocks]
    flat = [task for of_block in tasks for task in of_block]
    receipts = workshop.store.receipts("signals", {task.key: None for task in flat})
    todo = {task.key: task for task in flat if receipts[task.key] is None}
    if todo:
        for receipt in workshop.run("signals", run_signals, list(todo.values())):
            receipts[receipt.key] = receipt
    models = measure_models(workshop, blocks, [_used(workshop.recipe, b.source) for b in blocks])
    found = []
    for of_block, by_models in zip(tasks, models, strict=True):
        made = {str(task.origin): receipts[task.key] for task in of_block}
        whole = {origin: one for origin, one in made.items() if one is not None}
        found.append(Measured(whole | by_models))
    return found


def run_signals(task: SignalTask) -> Receipt:
    """Measure one table and keep it."""
    surveyed = task.store.read("surveyed", task.surveyed)
    if task.origin == "text":
        return task.store.write("signals", task.key, measure_texts(surveyed))
    measure_media = measure_videos if task.origin == "video" else measure_pictures
    with MediaFiles(task.root, stand_ins(task.stand_in, task.store)) as files:
        table = measure_media(sound(surveyed), files)
    return task.store.write("signals", task.key, table)


def clause_failures(
    workshop: Workshop, blocks: Sequence[Block], measured: Sequence[Measured]
) -> Iterator[tuple[pa.Table, dict[str, Bools]]]:
    """Of each block the signals that its clauses name, and for each clause the rows that fail."""
    store = workshop.store
    for block, one in zip(blocks, measured, strict=True):
        clauses = workshop.recipe.select.clauses(block.source)
        if not clauses:
            yield pa.table({}), {}
            continue
        tables = {
            name: store.read("signals", receipt.key) for name, receipt in one.receipts.items()
        }
        surveyed = store.read("surveyed", block.surveyed.key)
        known = workshop.recipe.signals
        names = {name for clause in clauses for name in used_signals(clause, known)}
        signals = signals_of(surveyed, tables, names, known)
        yield signals, dict(zip(clauses, fails(signals, clauses), strict=True))


def failed_rows(
    workshop: Workshop, blocks: Sequence[Block], measured: Sequence[Measured]
) -> list[dict[int, str]]:
    """For each block the rows that fail a clause, with the clause and what it saw."""
    return [
        failing(
            signals,
            failed,
            {clause: used_signals(clause, workshop.recipe.signals) for clause in failed},
        )
        for signals, failed in clause_failures(workshop, blocks, measured)
    ]


def clauses_spec(
    select: Select, names: Collection[str], measured: Sequence[Measured]
) -> dict[str, object]:
    """What of clauses shapes a selection; nothing where there is none, as before there were any."""
    clauses = {name: select.clauses(name) for name in sorted(names)}
    if not any(clauses.values()):
        return {}
    return {
        "clauses": clauses,
        "duckdb": version("duckdb"),
        "signals": [one.digests for one in measured],
    }


def origins_of(recipe: Recipe, source: str) -> list[Origin]:
    """What has to be measured for the clauses of a source."""
    used: set[Origin] = {"picture"} if recipe.select.dedup.near_bits is not None else set()
    used |= {"picture"} if recipe.select.benchmarks else set()
    used |= {"text"} if recipe.select.dedup.text is not None else set()
    used |= {recipe.signals[name].origin for name in _used(recipe, source)}
    return [origin for origin in _SHAPES if origin in used]


def _used(recipe: Recipe, source: str) -> set[str]:
    """The signals that the clauses of a source name."""
    clauses = recipe.select.clauses(source)
    return {name for one in clauses for name in used_signals(one, recipe.signals)}


def _tasks(workshop: Workshop, block: Block) -> list[SignalTask]:
    root = workshop.sources[block.source].root
    return [
        SignalTask(
            origin=origin,
            surveyed=(block.surveyed if origin == "text" else block.as_found).key,
            root=root,
            stand_in=block.stand_in,
            key=_key(origin, block, workshop.store),
            store=workshop.store,
        )
        for origin in origins_of(workshop.recipe, block.source)
    ]


def _key(origin: Origin, block: Block, store: Store) -> str:
    shape = _SHAPES[origin]
    content = block.surveyed.digest
    if origin != "text":
        content = _media_digest(store.read("surveyed", block.as_found.key), origin)
    return spec_digest(
        {
            "stage": "signals",
            "origin": origin,
            "version": shape.version,
            "libraries": {name: version(name) for name in shape.libraries},
            "content": content,
        }
    )


def _media_digest(surveyed: pa.Table, origin: Origin) -> str:
    """Of what is measured: the contents of pictures, or of videos with their clips, in order."""
    items = one_chunk(sound(surveyed).column("items")).flatten()
    videos = pc.equal(pc.struct_field(items, "kind"), "video")
    if origin == "video":
        return spec_digest([video_content(item) for item in items.filter(videos).to_pylist()])
    contents = pc.struct_field(items, "sha256").filter(pc.invert(videos)).to_pylist()
    return spec_digest(list(dict.fromkeys(contents)))
