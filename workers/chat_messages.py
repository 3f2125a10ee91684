"""Conversations as a chat template gets them: every part replaced by a numbered sentinel.

Sentinels are noncharacters, which no text that reaches this module holds, between two em spaces: a
template that strips content takes the outer ones away, and so shows that it does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypedDict

_BLANK = "\u2003"  # stripped by every strip(), written by no known template
SENTINEL = re.compile("(\u2003?)\ufdd1(\\d+)\ufdd2(\u2003?)")
"""Blank before, number, blank after."""

Shape = tuple[tuple[str, int], ...]
"""Role and number of parts of each message: all that a render depends on."""


class TextPart(TypedDict):
    """One part of a message in list form."""

    type: str
    text: str


class Message(TypedDict):
    """What a chat template gets."""

    role: str
    content: str | list[TextPart]


def _sentinel(number: int) -> str:
    return f"{_BLANK}\ufdd1{number}\ufdd2{_BLANK}"


def _sentinels(shape: Shape) -> Iterator[tuple[str, list[str]]]:
    """Role and sentinels of each message, numbered through."""
    first = 0
    for role, count in shape:
        yield role, [_sentinel(number) for number in range(first, first + count)]
        first += count


def as_strings(shape: Shape) -> list[Message]:
    """Content as one string: what most templates take."""
    return [{"role": role, "content": "".join(parts)} for role, parts in _sentinels(shape)]


def as_lists(shape: Shape) -> list[Message]:
    """Content as a list of text parts."""
    return [
        {"role": role, "content": [{"type": "text", "text": part} for part in parts]}
        for role, parts in _sentinels(shape)
    ]
