"""A JSON array of records, cut at its commas without being parsed, in pieces of a file.

1. In each piece, escaped quotes and backslashes are blotted out, and what is left of quotes,
   commas and brackets is found (numpy, about 150 MB a second).
2. Quotes begin and end strings, in turn. Outside strings, brackets change the depth.
3. Commas at depth 1 lie between two elements; the array ends where the depth becomes 0.
The depth is a number, so no nesting is too deep; and no element is held but the one that is read.
A block is cut as its plan was: both begin outside a string, at depth 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from schemas.errors import RecipeError
from workers.sources.block import Block
from workers.sources.json_text import BLANKS, MAX_RECORD_BYTES, BlockBytes, RecordText

PIECE_BYTES = 256 << 10

_CLOSE, _COMMA, _OPEN, _QUOTE = 1, 2, 3, 4
_KINDS = bytearray(256)
for _kind, _characters in ((_CLOSE, b"]}"), (_COMMA, b","), (_OPEN, b"[{"), (_QUOTE, b'"')):
    for _character in _characters:
        _KINDS[_character] = _kind


class Delimiters:
    """Called with one piece after another: the places where elements of an open array end."""

    def __init__(self) -> None:
        self.ended = False
        self._depth = 1
        self._in_string = np.uint8(0)

    def __call__(self, piece: bytes) -> list[int]:
        """Places in the piece of the commas between elements, and of the array's own end.

        A piece may not end between a backslash and what it escapes.
        """
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"..").replace(b'\\"', b"..")
        kinds = np.frombuffer(piece.translate(_KINDS), np.int8)
        marks = np.flatnonzero(kinds)
        if self.ended or not len(marks):
            return []
        kinds = kinds[marks]
        quotes = kinds == _QUOTE
        in_string = np.bitwise_xor.accumulate(quotes.view(np.uint8)) ^ self._in_string
        self._in_string = in_string[-1]
        outside = (in_string == 0) & ~quotes
        marks, kinds = marks[outside], kinds[outside]
        depth = np.cumsum(kinds - _COMMA, dtype=np.int64) + self._depth
        ends = np.flatnonzero(depth == 0)
        self.ended = len(ends) > 0
        last = int(ends[0]) + 1 if self.ended else len(depth)
        marks, kinds, depth = marks[:last], kinds[:last], depth[:last]
        self._depth = int(depth[-1]) if len(depth) else self._depth
        found: list[int] = marks[(depth == 0) | (depth == 1) & (kinds == _COMMA)].tolist()
        return found


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """All that there is, in pieces that end before or after an escape, not within it."""
    while piece := read(PIECE_BYTES):
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            piece += read(1)
        yield piece


def plan_array(file: BinaryIO, path: str, rows_per_block: int, name: str) -> list[Block]:
    """The array that begins behind the file's position, in blocks of so many elements.

    A block begins behind a bracket or comma and ends before one. Raises RecipeError, naming the
    file by `name`, where the array does not end or where something follows it.
    """
    blocks: list[Block] = []
    find, digest = Delimiters(), hashlib.sha256()
    begins = start = position = file.tell()
    first_row = rows = 0
    blank = True  # nothing was seen but the bracket
    for piece in _pieces(file.read):
        found, done = find(piece), 0
        blank = blank and not piece[: found[0] if found else None].strip(BLANKS)
        for at in found:
            rows += 1
            ends = find.ended and at == found[-1]
            if rows < rows_per_block and not ends:
                continue
            digest.update(piece[done:at])
            if not (ends and blank and rows == 1 and not blocks):
                end = position + at
                blocks.append(Block(path, start, end, first_row, rows, digest.hexdigest()))
            digest, start, done = hashlib.sha256(), position + at + 1, at + 1
            first_row, rows = first_row + rows, 0
        if find.ended:
            _check_end(file, piece[done:], start, name)
            return blocks
        digest.update(piece[done:])
        position += len(piece)
    whole = f"{first_row + rows} whole elements"
    raise RecipeError(
        f"{name}: the array that begins at byte {begins - 1} does not end: the file ends at byte"
        f" {position}, after {whole}; is it cut off?"
    )


def _check_end(file: BinaryIO, rest: bytes, position: int, name: str) -> None:
    """Nothing but blanks may follow the array."""
    while rest or (rest := file.read(PIECE_BYTES)):
        blanks = len(rest) - len(rest.lstrip(BLANKS))
        position += blanks
        if blanks < len(rest):
            raise RecipeError(f"{name}: text follows the end of the array, at byte {position}")
        rest = b""


def read_array(file: BinaryIO, block: Block, name: str) -> Iterator[RecordText]:
    """The elements of a block.

    Raises BuildError at the end where they are not those of the plan, or where the file, `name`,
    has become shorter.
    """
    source, find = BlockBytes(file, block, name), Delimiters()
    element = _Element(block.first_row + 1, block.start)
    for piece in _pieces(source.piece):
        done = 0
        for at in find(piece):
            element.add(piece[done:at])
            yield element.text()
            element = element.next()
            done = at + 1
        element.add(piece[done:])
    yield element.text()
    source.check()


class _Element:
    """What lies between two commas, collected from pieces, and not kept once it is too long."""

    def __init__(self, number: int, offset: int) -> None:
        self._number, self._offset = number, offset
        self._size = 0
        self._held: list[bytes] = []

    def next(self) -> _Element:
        return _Element(self._number + 1, self._offset + self._size + 1)

    def add(self, text: bytes) -> None:
        self._size += len(text)
        self._held.append(text)
        if self._size > MAX_RECORD_BYTES:
            self._held.clear()

    def text(self) -> RecordText:
        if self._size > MAX_RECORD_BYTES:
            return RecordText(self._number, self._offset, self._size, None, "element")
        held = b"".join(self._held)
        text = held.strip(BLANKS)
        offset = self._offset + len(held) - len(held.lstrip(BLANKS))
        return RecordText(self._number, offset, len(text), text, "element")
