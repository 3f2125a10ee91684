"""Text ids and vision blocks of one sample -> its tokens as they stand in a pack.

The block of an item is  text[0] (start pad… end) text[1] (start pad… end) … text[runs]  inserted
before the text token that its slot names. Start, end and inserted text are text (`token_kind` 0)
that is never learned; between them every token has the family's pad id, and its kind says what it
is: a feature (1), a newline embedding (2), another embedding (3). Arrays are allocated once and
filled by slices: the work is per run, not per token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.errors import ContractError
from schemas.sized import NEXT
from workers.vision_ids import Marks, VisionIds

__all__ = ["Expanded", "Run", "TextRow", "VisionBlock", "VisionIds", "expand", "planned_length"]

FEATURE = 1  # value of `token_kind`

Kinds = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TextRow:
    """One row of TOKENIZED."""

    tokens: npt.NDArray[np.int32]
    loss: npt.NDArray[np.int32]
    """start, end, start, end, … over `tokens`."""
    slots: npt.NDArray[np.int32]
    """For each item the index into `tokens` before which it stands; never decreasing."""


@dataclass(frozen=True)
class VisionBlock:
    """What the size stage decided for one item."""

    kind: str  # image | video | view
    parts: Sequence[Sequence[int]]
    """(rows, columns, after) as in `schemas.sized.Layout`: of one run, or of several that NEXT
    parts.
    """
    runs: int = 1
    """How often the parts are repeated."""
    run_text: Sequence[Sequence[int]] = field(default=())
    """A list of ids before each run and after the last; empty for none at all."""

    def __post_init__(self) -> None:
        if self.runs < 1 or min(self.lengths) < 1:
            raise ContractError(f"{self.runs} runs of {self.lengths} embeddings each")
        if self.run_text and len(self.run_text) != self.run_count + 1:
            raise ContractError(
                f"run_text has {len(self.run_text)} texts for {self.run_count} runs"
            )

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each run of one repetition, between its start and its end."""
        return run_lengths(self.parts)

    @property
    def run_count(self) -> int:
        """Runs of all repetitions."""
        return self.runs * len(self.lengths)

    def run_kinds(self) -> Kinds:
        """`token_kind` of one repetition's runs, one after another."""
        kinds = np.full(sum(self.lengths), FEATURE, np.uint8)
        at = 0
        for rows, columns, after in self.parts:
            ends = 0 < after < NEXT
            end = at + rows * (columns + ends)
            if ends:
                kinds[at + columns : end : columns + 1] = after
            at = end
        return kinds


def run_lengths(parts: Sequence[Sequence[int]]) -> list[int]:
    """Embeddings of each run that the parts give once."""
    return [length for length, count in equal_lengths(parts) for _ in range(count)]


def equal_lengths(parts: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """The same as (embeddings, how many such runs follow one another), however many there are."""
    groups, open_ = [], 0
    for rows, columns, after in parts:
        if after == NEXT and rows:
            groups += [(open_ + columns, 1), (columns, rows - 1)][: min(rows, 2)]
            open_ = 0
        elif after != NEXT:
            open_ += rows * (columns + (after > 0))
    return [*groups, (open_, 1)] if open_ or not groups else groups


class Run(NamedTuple):
    """Tokens `start` … `start + length - 1` of the sample are embeddings of item `item`."""

    item: int
    start: int
    length: int


@dataclass(frozen=True)
class Expanded:
    """One sample as it stands in a pack."""

    tokens: npt.NDArray[np.int32]
    token_kind: npt.NDArray[np.uint8]
    loss: npt.NDArray[np.uint8]
    runs: tuple[Run, ...]


def planned_length(text_tokens: int, blocks: Sequence[VisionBlock], ids: VisionIds) -> int:
    """The length of the expanded sample, without building it."""
    return text_tokens + sum(block_length(block, ids) for block in blocks)


def block_length(block: VisionBlock, ids: VisionIds) -> int:
    """Tokens that one item adds: embeddings, start and end tokens, inserted text."""
    around = block.run_count * ids.marks(block.kind).overhead
    texts = sum(len(text) for text in block.run_text)
    return block.runs * sum(block.lengths) + around + texts


def expand(text: TextRow, blocks: Sequence[VisionBlock], ids: VisionIds) -> Expanded:
    """The sample with its vision blocks in place; items in the order of their slots.

    Raises ContractError when slots and blocks do not belong together.
    """
    _check(text, blocks)
    length = planned_length(len(text.tokens), blocks, ids)
    tokens = np.empty(length, np.int32)
    kind = np.zeros(length, np.uint8)
    loss = np.zeros(length, np.uint8)
    learned = np.zeros(len(text.tokens), np.uint8)
    for start, end in text.loss.reshape(-1, 2):
        learned[start:end] = 1
    runs: list[Run] = []
    done = at = 0  # text tokens copied; tokens written
    for item, slot in enumerate([*text.slots.tolist(), len(text.tokens)]):
        to = at + slot - done
        tokens[at:to] = text.tokens[done:slot]
        loss[at:to] = learned[done:slot]
        done, at = slot, to
        if item == len(blocks):
            break
        kinds, first = blocks[item].run_kinds(), 0
        for run in _write(blocks[item], ids.marks(blocks[item].kind), tokens[at:]):
            runs.append(Run(item, at + run.start, run.length))
            last = first + run.length
            kind[at + run.start : at + run.start + run.length] = kinds[first:last]
            first = last % len(kinds)
        at += block_length(blocks[item], ids)
    return Expanded(tokens, kind, loss, tuple(runs))


def _write(block: VisionBlock, marks: Marks, tokens: npt.NDArray[np.int32]) -> Iterator[Run]:
    """Writes the block at the front of `tokens`; yields its runs, as of item 0 and from there."""
    texts = block.run_text or ((),) * (block.run_count + 1)
    at = 0
    for index, text in enumerate(texts):
        tokens[at : at + len(text)] = text
        at += len(text)
        if index == block.run_count:
            return
        length = block.lengths[index % len(block.lengths)]
        if marks.start is not None:
            tokens[at] = marks.start
            at += 1
        tokens[at : at + length] = marks.pad
        yield Run(0, at, length)
        at += length
        if marks.end is not None:
            tokens[at] = marks.end
            at += 1


def _check(text: TextRow, blocks: Sequence[VisionBlock]) -> None:
    if len(text.slots) != len(blocks):
        raise ContractError(f"{len(text.slots)} slots for {len(blocks)} vision blocks")
    slots = [0, *text.slots.tolist(), len(text.tokens)]
    if any(before > after for before, after in pairwise(slots)):
        raise ContractError(f"slots {slots[1:-1]} do not rise within {len(text.tokens)} tokens")
