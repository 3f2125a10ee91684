"""Asking models, on Ray: some blocks' requests a task, in actors that hold a client or a model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from pipelines.engine import ActorPool
from pipelines.kept_answers import journal
from pipelines.steps import Block, StandIn, Workshop, stand_ins
from pipelines.store import Store
from workers.caption import Drop
from workers.captioning.answered import Backend, Request
from workers.captioning.asks import Asking, asks_of
from workers.media_files import MediaFiles
from workers.shown_pictures import ShownPictures, blanks
from workers.storage.folder import Folder

_MOST = 1024
"""Requests of a task: enough to keep an endpoint busy, few enough to see progress."""


@dataclass(frozen=True)
class Part:
    """Requests about a block that are to be sent: the rows that it is asked about, and the keys."""

    surveyed: str
    root: Folder
    stand_in: StandIn | None
    rows: tuple[int, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class AskTask:
    """Requests of one task."""

    parts: tuple[Part, ...]
    store: Store


def ask(
    workshop: Workshop,
    asking: Asking,
    directory: str,
    wanted: Sequence[tuple[Block, Sequence[int], Sequence[str]]],
) -> dict[str, Drop]:
    """Send the requests of these keys about rows of blocks; the faults among them by key.

    Answers are kept as they come, also of a task that fails.
    """
    tasks = [AskTask(parts, workshop.store) for parts in _grouped(workshop, wanted)]
    if not tasks:
        return {}
    config = asking.config
    in_cluster = config.endpoint is None
    pool = ActorPool(
        config.min_actors,
        config.max_actors,
        config.num_gpus if in_cluster and config.device == "cuda" else 0.0,
        config.cpus,
        key="caption",
    )
    make = partial(make_asker, asking, directory)
    faults: dict[str, Drop] = {}
    for found in workshop.run_actors("caption", make, tasks, pool):
        faults |= found
    return faults


def make_asker(
    asking: Asking, directory: str, cpus: int
) -> Callable[[AskTask], Mapping[str, Drop]]:
    """What an actor runs: the backend is made once."""
    config, seed = asking.config, asking.seed
    backend: Backend
    if config.endpoint is not None:
        from workers.captioning.endpoint import Endpoint  # openai takes a second

        backend = Endpoint(config, seed, cpus)
    else:
        from workers.captioning.local_model import LocalModel  # torch and transformers: seconds

        backend = LocalModel(config, seed, directory)

    def run_ask(task: AskTask) -> Mapping[str, Drop]:
        with ExitStack() as stack, journal(task.store) as kept:
            backend.run(_requests(task, asking, stack), kept.tell)
        return {one.key: (one.reason, one.message) for one in kept.faults}

    return run_ask


def _requests(task: AskTask, asking: Asking, stack: ExitStack) -> Iterator[Request]:
    for part in task.parts:
        surveyed = task.store.read("surveyed", part.surveyed)
        files = stack.enter_context(MediaFiles(part.root, stand_ins(part.stand_in, task.store)))
        pictures, wanted = ShownPictures(files), set(part.keys)
        items = surveyed.column("items")
        for one in asks_of(surveyed, part.rows, asking):
            if one.key in wanted:
                media = items[one.row].as_py()
                drawn = partial(pictures.of, one.shown, media) if one.shown else None
                yield Request(one.key, one.system, one.user, drawn)
            if one.blank_key in wanted:
                yield Request(one.blank_key, one.system, one.user, partial(blanks, one.shown))
            wanted -= {one.key, one.blank_key}


def _grouped(
    workshop: Workshop, wanted: Sequence[tuple[Block, Sequence[int], Collection[str]]]
) -> Iterator[tuple[Part, ...]]:
    """The parts of each task; a key that several blocks ask for is in the first one."""
    group: list[Part] = []
    seen: set[str] = set()
    count = 0
    for block, rows, keys in wanted:
        mine = tuple(key for key in keys if key not in seen)
        seen.update(mine)
        if not mine:
            continue
        root = workshop.sources[block.source].root
        group.append(Part(block.surveyed.key, root, block.stand_in, tuple(rows), mine))
        count += len(mine)
        if count >= _MOST:
            yield tuple(group)
            group, count = [], 0
    if group:
        yield tuple(group)
