"""JSON Lines: one record a line, blank lines passed over, blocks of whole lines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from workers.sources.block import Block
from workers.sources.json_text import MAX_RECORD_BYTES, BlockBytes, RecordText

_PIECE_BYTES = 1 << 20


def plan_lines(file: BinaryIO, path: str, rows_per_block: int) -> list[Block]:
    """The file as blocks of so many rows; the last may have fewer, an empty file has none.

    Together they hold every row, so that no change of one escapes their digests.
    """
    blocks: list[Block] = []
    digest, start, first_row, rows = hashlib.sha256(), 0, 0, 0
    position, line, line_begins, blank = 0, 0, True, True
    while piece := file.readline(_PIECE_BYTES):
        if line_begins and rows == rows_per_block:
            blocks.append(Block(path, start, position, first_row, rows, digest.hexdigest()))
            digest, start, first_row, rows = hashlib.sha256(), position, line, 0
        digest.update(piece)
        position += len(piece)
        if blank and not piece.isspace():
            rows, blank = rows + 1, False
        line_begins = piece.endswith(b"\n")
        if line_begins:
            line, blank = line + 1, True
    if rows:
        blocks.append(Block(path, start, position, first_row, rows, digest.hexdigest()))
    return blocks


def read_block(file: BinaryIO, block: Block, name: str) -> Iterator[RecordText]:
    """The lines of a block that are not blank.

    Raises BuildError at the end where they are not those of the plan, or where the file, `name`,
    has become shorter.
    """
    source = BlockBytes(file, block, name)
    number = block.first_row + 1
    while source.left:
        offset = source.offset
        text = source.line(MAX_RECORD_BYTES + 1)
        if len(text) > MAX_RECORD_BYTES:
            _pass_over_line(source, text)
            yield RecordText(number, offset, source.offset - offset, None)
        elif not text.isspace():
            yield RecordText(number, offset, len(text), text)
        number += 1
    source.check()


def _pass_over_line(source: BlockBytes, text: bytes) -> None:
    """What is left of a line, read without keeping it."""
    while source.left and not text.endswith(b"\n"):
        text = source.line(_PIECE_BYTES)
