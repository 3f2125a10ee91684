"""Signals that models measure: one table a block and signal, by actors that hold the model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from pipelines.engine import ActorPool
from pipelines.steps import Block, StandIn, Workshop, stand_ins
from pipelines.store import Receipt, Store
from schemas.digest import spec_digest
from schemas.libraries import version
from workers.checkpoint import checkpoint, checkpoint_digest
from workers.media_files import MediaFiles
from workers.shown_pictures import ShownPictures
from workers.signals.measured import media_contents
from workers.signals.model_config import OPERATION, ModelSignal
from workers.signals.model_tables import VERSION, classified, similar
from workers.storage.folder import Folder

Measure = Callable[[pa.Table, ShownPictures], pa.Table]


@dataclass(frozen=True)
class ModelTask:
    """One table to measure."""

    surveyed: str
    root: Folder
    stand_in: StandIn | None
    key: str
    store: Store


def measure_models(
    workshop: Workshop, blocks: Sequence[Block], wanted: Sequence[Collection[str]]
) -> list[dict[str, Receipt]]:
    """For each block the tables of the signals that are wanted of it, by name."""
    found: list[dict[str, Receipt]] = [{} for _ in blocks]
    for number, config in enumerate(workshop.recipe.signal):
        mine = [place for place, names in enumerate(wanted) if config.name in names]
        if not mine:
            continue
        key = f"signal.{number}"
        directory = checkpoint(config.model, f"{key}.model")
        shape = {
            "stage": "signals",
            "version": VERSION,
            "model": checkpoint_digest(directory),
            "settings": config.model_dump(mode="json", exclude={*OPERATION, "name"}),
            "libraries": {
                name: version(name) for name in ("av", "pillow", "torch", "transformers")
            },
        }
        tasks = [_task(workshop, blocks[place], config, shape) for place in mine]
        store = workshop.store
        receipts = store.receipts("signals", {task.key: None for task in tasks})
        todo = {task.key: task for task in tasks if receipts[task.key] is None}
        make = partial(make_measurer, config, key, str(directory))
        for receipt in workshop.run_actors(
            f"signal {config.name}", make, list(todo.values()), pool_of(config, key)
        ):
            receipts[receipt.key] = receipt
        for place, task in zip(mine, tasks, strict=True):
            done = receipts[task.key]
            assert done is not None  # made above
            found[place][config.name] = done
    return found


def make_measurer(
    config: ModelSignal, key: str, directory: str, cpus: int
) -> Callable[[ModelTask], Receipt]:
    """What an actor runs: the model is loaded once."""
    del cpus
    if config.kind == "similarity":
        from workers.signals.similarity import Similarity  # transformers: seconds

        likeness = Similarity(key, directory, config.device, config.batch)
        return lambda task: _kept(task, lambda table, shown: similar(table, shown, likeness))
    from workers.signals.classify import Classifier

    head = Classifier(key, directory, config.device, config.batch, config.label)
    of = config.of
    return lambda task: _kept(task, lambda table, shown: classified(table, shown, head, of))


def pool_of(config: ModelSignal, key: str) -> ActorPool:
    """The actors of a model."""
    gpus = config.num_gpus if config.device == "cuda" else 0.0
    return ActorPool(config.min_actors, config.max_actors, gpus, config.cpus, key=key)


def _kept(task: ModelTask, measure: Measure) -> Receipt:
    surveyed = task.store.read("surveyed", task.surveyed)
    with MediaFiles(task.root, stand_ins(task.stand_in, task.store)) as files:
        return task.store.write("signals", task.key, measure(surveyed, ShownPictures(files)))


def _task(
    workshop: Workshop, block: Block, config: ModelSignal, shape: dict[str, object]
) -> ModelTask:
    """Similarity is of the texts too; what a head says is of the media alone."""
    store = workshop.store
    if config.kind == "similarity":
        told, content = block.surveyed, block.surveyed.digest
    else:
        told = block.as_found
        content = spec_digest(media_contents(store.read("surveyed", told.key)))
    return ModelTask(
        surveyed=told.key,
        root=workshop.sources[block.source].root,
        stand_in=block.stand_in,
        key=spec_digest({**shape, "content": content}),
        store=store,
    )
