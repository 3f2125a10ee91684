"""Our own input format, JSON Lines: one sample a line (docs/records.md).

A file is cut into blocks of whole lines, each with its digest; a block is read alone. No more is
held than one line, and never more than MAX_LINE_BYTES. What is wrong in a line drops its sample.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from schemas.errors import BuildError
from schemas.reasons import Reason
from workers.faults import Fault
from workers.sources.fields import an_id, bad, named
from workers.sources.sample import Sample
from workers.sources.turns import parse_turns

MAX_LINE_BYTES = 16 << 20
_PIECE_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class Block:
    """A byte range of whole lines; `first_line` counts them from 1, `rows` only if not blank."""

    start: int
    end: int
    first_line: int
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is not blank. `text` is None where it is over MAX_LINE_BYTES."""

    number: int
    offset: int
    size: int
    text: bytes | None


def plan_blocks(path: Path, rows_per_block: int) -> list[Block]:
    """The file as blocks of so many rows; the last may have fewer, an empty file has none.

    Together they hold every row, so that no change of one escapes their digests.
    """
    blocks: list[Block] = []
    digest, start, first_line, rows = hashlib.sha256(), 0, 1, 0
    position, line, line_begins, blank = 0, 1, True, True
    with path.open("rb") as file:
        while piece := file.readline(_PIECE_BYTES):
            if line_begins and rows == rows_per_block:
                blocks.append(Block(start, position, first_line, rows, digest.hexdigest()))
                digest, start, first_line, rows = hashlib.sha256(), position, line, 0
            digest.update(piece)
            position += len(piece)
            if blank and not piece.isspace():
                rows, blank = rows + 1, False
            line_begins = piece.endswith(b"\n")
            if line_begins:
                line, blank = line + 1, True
    if rows:
        blocks.append(Block(start, position, first_line, rows, digest.hexdigest()))
    return blocks


def range_sha256(path: Path, start: int, end: int) -> str:
    """The digest of a block's bytes as they are now, to hold against the plan's."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        while piece := file.read(min(end - file.tell(), _PIECE_BYTES)):
            digest.update(piece)
    return digest.hexdigest()


def read_lines(path: Path, start: int, end: int, first_line: int) -> Iterator[Line]:
    """The lines of one block. Raises BuildError where the file has become shorter than its plan."""
    number, offset = first_line, start
    with path.open("rb") as file:
        file.seek(start)
        while offset < end:
            text = file.readline(min(end - offset, MAX_LINE_BYTES + 1))
            size = len(text)
            if size > MAX_LINE_BYTES:
                size += _rest_of_line(file, text, end - offset - size)
            if not size:
                raise BuildError(f"{path} ends at byte {offset}, its plan says {end}: build again")
            if size > MAX_LINE_BYTES:
                yield Line(number, offset, size, None)
            elif not text.isspace():
                yield Line(number, offset, size, text)
            number, offset = number + 1, offset + size


def _rest_of_line(file: BinaryIO, text: bytes, limit: int) -> int:
    """Bytes of a line beyond those read, passed over without keeping them."""
    size = 0
    while not text.endswith(b"\n") and size < limit:
        text = file.readline(min(limit - size, _PIECE_BYTES))
        if not text:
            break
        size += len(text)
    return size


def parse_line(line: Line) -> Sample:
    """The sample of one line; `id` is `line-N` where the line states none or cannot be read."""
    sample_id = f"line-{line.number}"
    try:
        record = _decode(line)
        sample_id = an_id(record.get("id", sample_id))
        turns, media = parse_turns(record.get("turns"))
        return Sample(sample_id, turns, media)
    except Fault as fault:
        message = f"line {line.number}: {fault.message}"
        return Sample(sample_id, drop=fault.reason, message=message)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_no_constant)


def _decode(line: Line) -> dict[str, Any]:
    if line.text is None:
        raise Fault(Reason.BAD_RECORD, f"{line.size} bytes, over the limit of {MAX_LINE_BYTES}")
    try:
        record = _JSON.decode(line.text.removeprefix(_BOM).decode())
        if _SURROGATE.search(line.text):
            json.dumps(record, ensure_ascii=False).encode()  # half a character cannot be stored
    except json.JSONDecodeError as error:
        raise Fault(Reason.BAD_RECORD, f"not JSON: {error.msg} at column {error.colno}") from error
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise Fault(Reason.BAD_RECORD, f"not UTF-8: {error.reason}") from error
    except RecursionError as error:
        raise Fault(Reason.BAD_RECORD, "not JSON: nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits, NaN, Infinity
        raise Fault(Reason.BAD_RECORD, f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise bad("the record", f"expected an object, found {named(record)}")
    return record
