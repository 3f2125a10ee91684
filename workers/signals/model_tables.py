"""Tables of signals that models measure of a block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from PIL import Image

from workers.captioning.spoken import learned_text
from workers.faults import Fault
from workers.shown import shown_of
from workers.shown_pictures import ShownPictures
from workers.signals.classify import Classifier
from workers.signals.similarity import Similarity

VERSION = 1

SIMILAR = pa.schema([pa.field("value", pa.float64())])
"""One row a sample; null for one without a picture or without a text."""

_PIXELS = 512 * 512
"""More than the models look at."""
_FRAMES = 4
"""Of a video."""


def classified(surveyed: pa.Table, pictures: ShownPictures, model: Classifier, of: str) -> pa.Table:
    """One row a medium of a block, each content once: its value in a column `max` or `min`, as of
    several frames of a video the largest or smallest counts; null where it does not decode.
    """
    items = {
        item["sha256"]: item
        for media in surveyed.column("items").to_pylist()
        for item in media
        if item["sha256"]
    }
    found: list[list[float]] = [[] for _ in items]
    drawn = (_drawn(pictures, [item]) for item in items.values())
    for owners, batch in _batches(drawn, model.batch):
        for owner, value in zip(owners, model.values(batch), strict=True):
            found[owner].append(value)
    counts = max if of == "max" else min
    values = [counts(one) if one else None for one in found]
    return pa.table(
        {"content": pa.array(list(items), pa.string()), of: pa.array(values, pa.float64())}
    )


def similar(surveyed: pa.Table, pictures: ShownPictures, model: Similarity) -> pa.Table:
    """SIMILAR, row for row."""
    columns = (surveyed.column(name).to_pylist() for name in ("turns", "items", "drop"))
    rows = [
        ("" if drop else learned_text(turns), items)
        for turns, items, drop in zip(*columns, strict=True)
    ]
    texts = [text for text, _ in rows]
    drawn = (_drawn(pictures, items) if text else [] for text, items in rows)
    return pa.table([mean_scores(model, drawn, texts)], schema=SIMILAR)


def mean_scores(
    model: Similarity, drawn: Iterable[list[Image.Image]], texts: Sequence[str]
) -> pa.Array:
    """Of each text and its pictures; null without pictures."""
    found: list[list[float]] = [[] for _ in texts]
    for owners, batch in _batches(drawn, model.batch):
        scores = model.scores(batch, [texts[owner] for owner in owners])
        for owner, score in zip(owners, scores, strict=True):
            found[owner].append(score)
    return pa.array([sum(one) / len(one) if one else None for one in found], pa.float64())


def _batches(
    drawn: Iterable[list[Image.Image]], size: int
) -> Iterator[tuple[list[int], list[Image.Image]]]:
    """Pictures of several samples together, and whose they are."""
    owners: list[int] = []
    batch: list[Image.Image] = []
    for owner, pictures in enumerate(drawn):
        owners += [owner] * len(pictures)
        batch += pictures
        if len(batch) >= size:
            yield owners, batch
            owners, batch = [], []
    if batch:
        yield owners, batch


def _drawn(pictures: ShownPictures, items: list[Any]) -> list[Image.Image]:
    """Of a sample; nothing where one does not decode."""
    try:
        return pictures.of(shown_of(items, [_PIXELS] * len(items), _FRAMES), items)
    except Fault:
        return []
