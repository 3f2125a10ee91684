"""A request as a backend takes it, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
from PIL import Image


@dataclass(frozen=True)
class Request:
    """What is asked under a key; the pictures, if there are any, are drawn when it is sent."""

    key: str
    system: str
    user: str
    pictures: Callable[[], list[Image.Image]] | None


@dataclass(frozen=True)
class Answer:
    """What a model said."""

    key: str
    text: str
    finish: str
    """`stop`, or why it ended before: `length`, `content_filter`."""
    answered_by: str
    """The model, as the server names it."""
    latency_ms: int
    prompt_tokens: int
    answer_tokens: int


@dataclass(frozen=True)
class NoAnswer:
    """A fault of the sample: the picture does not decode, or the server will not have it."""

    key: str
    reason: str
    message: str


Tell = Callable[[Answer | NoAnswer], None]


class Backend(Protocol):
    """A model that is asked."""

    def run(self, requests: Iterable[Request], tell: Tell) -> None:
        """Ask, and tell of each answer as it comes.

        Raises TransientError for what may pass, after all that was under way has been told, and
        BuildError for what will not: a wrong key, a model that is not there.
        """


ANSWERS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("finish", pa.string(), nullable=False),
        pa.field("answered_by", pa.string(), nullable=False),
        pa.field("latency_ms", pa.int64(), nullable=False),
        pa.field("prompt_tokens", pa.int64(), nullable=False),
        pa.field("answer_tokens", pa.int64(), nullable=False),
    ]
)
"""Answers as they are kept."""


def answers_table(answers: Iterable[Answer]) -> pa.Table:
    """ANSWERS of these."""
    return pa.Table.from_pylist([vars(one) for one in answers], ANSWERS)
