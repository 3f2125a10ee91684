"""The turns of SURVEYED rows as Python values, read column by column (5 x as fast
as row by row), and what a recipe changes in them: suffixes, and where media stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import flat, offsets, one_chunk
from workers.tokenizer_protocol import RESERVED_TEXT, reserved_character

PLACEHOLDER = "<image>"
"""Ordinary text that says where one of several media stood before it moved to the front."""


class Turn(NamedTuple):
    """Who speaks, and text or the index of an item for each part."""

    role: str
    parts: list[str | int]

    @property
    def learned(self) -> bool:
        """The model writes this itself: an answer, or a plain document."""
        return self.role in ("assistant", "text")

    @property
    def has_text(self) -> bool:
        """Something is said, not only shown."""
        return any(isinstance(part, str) and part for part in self.parts)


_NO_REGIONS: Mapping[int, str] = {}


def read_turns(
    column: pa.ChunkedArray, regions: Mapping[int, str] = _NO_REGIONS
) -> Iterator[list[Turn]]:
    """The turns of each row; `regions` has the texts of boxes and points by number of their part,
    which become one with the texts beside them.
    """
    rows = one_chunk(column)
    turns = flat(rows)
    lists = pc.struct_field(turns, "parts")
    parts = flat(lists)
    texts, items = (pc.struct_field(parts, name).to_pylist() for name in ("text", "item"))
    said = [text if item < 0 else item for text, item in zip(texts, items, strict=True)]
    for number, text in regions.items():
        said[number] = text
    roles = pc.struct_field(turns, "role").to_pylist()
    bounds = offsets(lists).tolist()
    found = [Turn(role, said[bounds[i] : bounds[i + 1]]) for i, role in enumerate(roles)]
    if regions:
        told = np.unique(np.searchsorted(bounds, list(regions), side="right") - 1)
        for turn in told.tolist():
            found[turn] = Turn(found[turn].role, _joined(found[turn].parts))
    bounds = offsets(rows).tolist()
    for row in range(len(rows)):
        yield found[bounds[row] : bounds[row + 1]]


def reserved_rows(column: pa.ChunkedArray) -> dict[int, str]:
    """The noncharacter that a row's texts and labels hold, by row; nearly always none does."""
    rows = one_chunk(column)
    turns = flat(rows)
    lists = pc.struct_field(turns, "parts")
    texts = pc.struct_field(flat(lists), "text")
    found = np.flatnonzero(pc.match_substring_regex(texts, RESERVED_TEXT).to_numpy(False))
    turn = np.searchsorted(offsets(lists), found, side="right") - 1
    row = np.searchsorted(offsets(rows), turn, side="right") - 1
    held = [reserved_character([text]) for text in texts.take(pa.array(found)).to_pylist()]
    # of several the first: a later entry of the same key wins
    pairs = zip(reversed(row.tolist()), reversed(held), strict=True)
    return {number: character for number, character in pairs if character}


def _joined(parts: Sequence[str | int]) -> list[str | int]:
    """The parts with texts that stand side by side as one."""
    joined: list[str | int] = []
    for is_text, group in groupby(parts, key=lambda part: isinstance(part, str)):
        beside = list(group)
        joined += ["".join(map(str, beside))] if is_text else beside
    return joined


def with_suffix(turns: Sequence[Turn], suffix: str) -> list[Turn]:
    """The suffix goes to the last text of each user turn, or after its media where it has none."""
    return [Turn(t.role, _ended(t.parts, suffix)) if t.role == "user" else t for t in turns]


def _ended(parts: Sequence[str | int], suffix: str) -> list[str | int]:
    ended = list(parts)
    for index in reversed(range(len(ended))):
        part = ended[index]
        if isinstance(part, str):
            ended[index] = part + suffix
            return ended
    return [*ended, suffix]


def media_in_front(turns: Sequence[Turn]) -> list[Turn]:
    """All media of a conversation in front of its first user turn, in order, then one line end.

    The in-the-front format of LLaVA-NeXT-Interleave's paper (arXiv 2407.07895): where several
    media leave their places, each leaves a PLACEHOLDER, but none in an answer, which is learned.
    Line end and stripped text as in LLaVA-VL/LLaVA-NeXT llava/train/train.py
    `preprocess_multimodal` and, for several, its `preprocess_qwen` of June 2024. Documents (role
    text) keep their media, and end the conversation before them, so that items stay in order.
    """
    moved: list[Turn] = []
    for is_document, group in groupby(turns, key=lambda turn: turn.role == "text"):
        turns_between = list(group)
        moved += turns_between if is_document else _conversation_in_front(turns_between)
    return moved


def _conversation_in_front(turns: list[Turn]) -> list[Turn]:
    media = [part for turn in turns for part in turn.parts if isinstance(part, int)]
    first = next((index for index, turn in enumerate(turns) if turn.role == "user"), None)
    if not media or first is None:
        return turns
    stay = turns[first].parts[: len(media)] == media
    mark = "" if stay or len(media) == 1 else PLACEHOLDER
    moved = []
    for index, turn in enumerate(turns):
        if index == first:
            text = _without_media(turn, mark)
            moved.append(Turn(turn.role, [*media, f"\n{text}"] if text else [*media]))
        elif any(isinstance(part, int) for part in turn.parts):
            text = _without_media(turn, "" if turn.learned else mark)
            moved.append(Turn(turn.role, [text] if text else []))
        else:
            moved.append(turn)
    return moved


def _without_media(turn: Turn, mark: str) -> str:
    return "".join(mark if isinstance(part, int) else part for part in turn.parts).strip()
