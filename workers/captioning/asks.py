"""What is asked about a block: for each request its pictures, its texts, and the key that its
answer is recorded by.

A key is the digest of all that shapes an answer: the contents of the media, which frames and at
what size, the texts, the model and its parameters; not where the model is served.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.columns import one_chunk
from schemas.digest import spec_digest
from workers.captioning.config import Caption
from workers.captioning.languages import language_name
from workers.captioning.prompts import Prompt, filled
from workers.captioning.spoken import texts_of
from workers.match import Rule, chosen
from workers.policies.table import media_of
from workers.shown import Shown, clip_of, drawn_at, shown_of

VERSION = 1

ASKED = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),
        pa.field("slot", pa.int32(), nullable=False),  # of several requests of a sample
        pa.field("key", pa.string(), nullable=False),
        pa.field("blank_key", pa.string(), nullable=False),  # "" where no control is sent
    ]
)
"""What is asked about a block."""

_PIXELS = 1_003_520
"""Sent of a picture that no policy sizes."""


@dataclass(frozen=True)
class Asking:
    """A pass as it is asked: its settings, its prompt, the model by name or digest."""

    config: Caption
    prompt: Prompt
    model: str
    seed: int
    rules: Sequence[Rule]

    @property
    def model_name(self) -> str:
        """As people know it; without where its files lie."""
        if self.config.endpoint is not None:
            return self.config.model
        return f"{Path(self.config.model).name}@{self.model[:8]}"


@dataclass(frozen=True)
class Ask:
    """One request."""

    row: int
    slot: int
    shown: tuple[Shown, ...]
    system: str
    user: str
    key: str
    blank_key: str
    question: str = ""
    """That the sample asks in training."""


def asks_of(surveyed: pa.Table, rows: Sequence[int], asking: Asking) -> Iterator[Ask]:
    """The requests about these rows of a block, in order."""
    if not rows:
        return
    taken = surveyed.take(pa.array(rows, pa.int64()))
    turns, items = (taken.column(name).to_pylist() for name in ("turns", "items"))
    pixels = _pixels(taken, asking)
    first = 0
    for row, said, media in zip(rows, turns, items, strict=True):
        most = pixels[first : first + len(media)]
        first += len(media)
        for slot, (shown, user, question) in enumerate(_of_sample(said, media, most, asking)):
            yield _ask(row, slot, shown, user, question, media, asking)


def asked_table(asks: Sequence[Ask]) -> pa.Table:
    """ASKED of requests."""
    columns = [[getattr(ask, name) for ask in asks] for name in ASKED.names]
    arrays = [pa.array(one, field.type) for one, field in zip(columns, ASKED, strict=True)]
    return pa.Table.from_arrays(arrays, schema=ASKED)


Wanted = tuple[tuple[Shown, ...], str, str]


def _of_sample(
    turns: Any, media: Sequence[Mapping[str, Any]], pixels: Sequence[int], asking: Asking
) -> Iterator[Wanted]:
    """Pictures, text and question of each request about a sample."""
    config, prompt = asking.config, asking.prompt
    if config.task == "translate":
        language = language_name(config.language or "")
        for text in texts_of(turns):
            values = {"language": language, "text": text.strip()}
            yield (), filled(prompt.user, values), ""
        return
    if config.task == "needle":
        yield from _needles(media[0], pixels[0], asking)
        return
    shown = shown_of(media, pixels, config.frames)
    yield tuple(shown), prompt.user, prompt.question


def _needles(medium: Mapping[str, Any], pixels: int, asking: Asking) -> Iterator[Wanted]:
    """One frame of a video, and two that lie apart, drawn by its contents."""
    prompt = asking.prompt
    start, end = clip_of(medium)
    draw = hashlib.sha256(f"{asking.seed}/needle/{medium['sha256']}".encode()).digest()
    shares = [int.from_bytes(draw[n : n + 8], "little") / 2**64 for n in (0, 8, 16)]
    third = (end - start) / 3
    one = start + int(shares[0] * (end - start))
    first = start + int(shares[1] * third)
    second = min(end - 1, start + int(2 * third + shares[2] * third))
    frames = [drawn_at(0, medium, pixels, frame) for frame in (one, first, second)]
    at = [_time(frame, start, float(medium["fps"])) for frame in (one, first, second)]
    yield (frames[0],), prompt.frame, filled(prompt.frame_question, {"first": at[0]})
    if second > first:
        asked = filled(prompt.difference_question, {"first": at[1], "second": at[2]})
        yield (frames[1], frames[2]), prompt.difference, asked


def _time(frame: int, start: int, fps: float) -> str:
    """Minutes and seconds from the start of the clip."""
    seconds = int((frame - start) / fps) if fps else 0
    return f"{seconds // 60}:{seconds % 60:02d}"


def _pixels(taken: pa.Table, asking: Asking) -> list[int]:
    """Most pixels of each item: the stated ones, or as many as its policy makes of it."""
    items = one_chunk(taken.column("items")).flatten()
    if asking.config.max_pixels is not None:
        return [asking.config.max_pixels] * len(items)
    table = pa.Table.from_struct_array(items)
    media = media_of(table.select(["kind", "width", "height", "frames", "fps"]))
    counts = [len(one) for one in taken.column("items")]
    source = np.repeat(taken.column("source").to_numpy(zero_copy_only=False), counts)
    rule = chosen(asking.rules, media, source)
    pixels = np.full(len(media), _PIXELS, np.int64)
    for number, one in enumerate(asking.rules):
        mine = np.flatnonzero(rule == number)
        if len(mine):
            sized = one.policy.size(media.take(mine))
            area = sized.drawn.resized_wh.astype(np.int64).prod(axis=1)
            pixels[mine] = np.where(area > 0, area, _PIXELS)
    found: list[int] = pixels.tolist()
    return found


def _ask(
    row: int,
    slot: int,
    shown: tuple[Shown, ...],
    user: str,
    question: str,
    media: Sequence[Mapping[str, Any]],
    asking: Asking,
) -> Ask:
    config = asking.config
    system = filled(asking.prompt.system, {"language": language_name(config.language or "")})
    spec = {
        "version": VERSION,
        "media": [[media[one.item]["sha256"], one.frame, one.width, one.height] for one in shown],
        "system": system,
        "user": user,
        "model": asking.model,
        "max_tokens": config.max_tokens,
        "temperature": config.temperature,
        "seed": asking.seed,
    }
    key = spec_digest(spec)[:32]
    draw = hashlib.sha256(f"{asking.seed}/blank/{key}".encode()).digest()
    checked = shown and int.from_bytes(draw[:8], "little") / 2**64 < config.blank_share
    blanks = [["blank", one.width, one.height] for one in shown]
    blank = spec_digest({**spec, "media": blanks})[:32] if checked else ""
    return Ask(row, slot, shown, system, user, key, blank, question)
