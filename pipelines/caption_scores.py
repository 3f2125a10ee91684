"""Scores of old and new texts, by actors that hold the model of a `[[signal]]`: what decides where
the better one is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from pipelines.caption_parts import Part, Pass, Said, asked_rows
from pipelines.model_signals import pool_of
from pipelines.steps import StandIn, Workshop, stand_ins
from pipelines.store import Receipt, Store
from schemas.digest import spec_digest
from workers.caption import sound_captions
from workers.captioning.asks import Asking, asks_of
from workers.checkpoint import checkpoint
from workers.media_files import MediaFiles
from workers.shown_pictures import ShownPictures
from workers.signals.model_config import ModelSignal
from workers.signals.model_tables import mean_scores
from workers.storage.folder import Folder

SCORED = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),
        pa.field("original_score", pa.float64(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)
"""Of samples with an old and a new text."""


@dataclass(frozen=True)
class ScoreTask:
    """A block whose answers are there."""

    surveyed: str
    asked: str
    said: Said
    asking: Asking
    root: Folder
    stand_in: StandIn | None
    key: str
    store: Store


def score(
    workshop: Workshop, one: Pass, todo: Sequence[Part], said: Mapping[int, Said]
) -> dict[int, str]:
    """By place of each part the key of its scores, which are there; nothing where none decide."""
    if one.scorer is None:
        return {}
    number = workshop.recipe.signal.index(one.scorer)
    key = f"signal.{number}"
    directory = str(checkpoint(one.scorer.model, f"{key}.model"))
    tasks = {
        part.place: ScoreTask(
            surveyed=part.block.surveyed.key,
            asked=part.asked.key,
            said=said[part.place],
            asking=one.asking,
            root=workshop.sources[part.block.source].root,
            stand_in=part.block.stand_in,
            key=spec_digest({"stage": "scored", "captioned": part.key}),
            store=workshop.store,
        )
        for part in todo
    }
    receipts = workshop.store.receipts("scored", {task.key: None for task in tasks.values()})
    missing = [task for task in tasks.values() if receipts[task.key] is None]
    make = partial(make_scorer, one.scorer, key, directory)
    for _ in workshop.run_actors("score", make, missing, pool_of(one.scorer, key)):
        pass
    return {place: task.key for place, task in tasks.items()}


def make_scorer(
    config: ModelSignal, key: str, directory: str, cpus: int
) -> Callable[[ScoreTask], Receipt]:
    """What an actor runs: the model is loaded once."""
    del cpus
    from workers.signals.similarity import Similarity  # transformers: seconds

    model = Similarity(key, directory, config.device, config.batch)

    def run_score(task: ScoreTask) -> Receipt:
        surveyed = task.store.read("surveyed", task.surveyed)
        asked = task.store.read("asked", task.asked)
        asks = list(asks_of(surveyed, asked_rows(asked), task.asking))
        heard = task.said.heard(task.store, asked)
        pairs = list(sound_captions(surveyed, asks, heard, task.asking))
        items = surveyed.column("items")
        with MediaFiles(task.root, stand_ins(task.stand_in, task.store)) as files:
            pictures = ShownPictures(files)
            # the same pictures twice, for the old text and the new one
            drawn = (
                shown
                for ask, _, _ in pairs
                for shown in [pictures.of(ask.shown, items[ask.row].as_py())] * 2
            )
            texts = [text for _, old, new in pairs for text in (old, new)]
            scores = mean_scores(model, drawn, texts)
        found = [[ask.row for ask, _, _ in pairs], scores[::2], scores[1::2]]
        arrays = [pa.array(one, field.type) for one, field in zip(found, SCORED, strict=True)]
        return task.store.write("scored", task.key, pa.Table.from_arrays(arrays, schema=SCORED))

    return run_score


def read_scores(store: Store, key: str) -> dict[int, tuple[float, float]]:
    """By row the similarity of the old text and of the new one."""
    rows = store.read("scored", key).to_pylist()
    return {row["row"]: (row["original_score"], row["score"]) for row in rows}
