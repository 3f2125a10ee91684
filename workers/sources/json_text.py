"""The JSON text of one record: read with its block's digest, then decoded, whatever it holds.

No more is held than one record, and never more than MAX_RECORD_BYTES. A record that is not JSON,
not UTF-8, nested too deeply or too long is a fault of its sample.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO, Literal, NoReturn

from schemas.errors import BuildError
from schemas.reasons import Reason
from workers.faults import Fault
from workers.sources.block import Block
from workers.sources.fields import bad, named
from workers.storage.folder import Folder

MAX_RECORD_BYTES = 16 << 20
BOM = b"\xef\xbb\xbf"
BLANKS = b" \t\r\n"

_PIECE_BYTES = 64 << 10
_REQUEST_BYTES = 8 << 20
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class RecordText:
    """One record as it stands in its file. `text` is None where it is over MAX_RECORD_BYTES."""

    number: int  # from 1: of the line, or of the element of an array
    offset: int
    size: int
    text: bytes | None
    unit: Literal["line", "element"] = "line"

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.unit} {self.number}"


class BlockBytes:
    """The bytes of a block, read once from front to back and digested on the way.

    `file` stands at their begin; messages call it `name`.
    """

    def __init__(self, file: BinaryIO, block: Block, name: str) -> None:
        self.offset = block.start
        self.left = block.end - block.start
        self._file, self._block, self._name = file, block, name
        self._digest = hashlib.sha256()

    def line(self, limit: int) -> bytes:
        """The rest of the line, at most `limit` bytes of it; empty only at the block's end."""
        return self._took(self._file.readline(min(limit, self.left)))

    def piece(self, limit: int) -> bytes:
        """The next bytes, at most so many; empty only at the block's end."""
        return self._took(self._file.read(min(limit, self.left)))

    def _took(self, data: bytes) -> bytes:
        if self.left and not data:
            end = self._block.end
            what = f"{self._name} ends at byte {self.offset}, its plan says {end}: build again"
            raise BuildError(what)
        self._digest.update(data)
        self.offset += len(data)
        self.left -= len(data)
        return data

    def check(self) -> None:
        """Raises BuildError where what was read is not what was planned."""
        if self._block.sha256 and self._digest.hexdigest() != self._block.sha256:
            raise BuildError(f"{self._name} changed while the build read it; build again")


def open_range(folder: Folder, path: str, start: int, end: int) -> closing[BinaryIO]:
    """A file that stands at `start`, to be read up to `end`: in one request, where that is near."""
    if end - start <= _REQUEST_BYTES:
        return closing(BytesIO(folder.read(path, start, end - start)))
    file = folder.open(path)
    file.seek(start)
    return closing(file)


def first_byte(file: BinaryIO) -> str:
    """The first byte that is neither mark nor blank, and read; "" where there is none."""
    position = 0
    while piece := file.read(_PIECE_BYTES):
        text = (piece if position else piece.removeprefix(BOM)).lstrip(BLANKS)
        if text:
            file.seek(position + len(piece) - len(text) + 1)
            return chr(text[0])
        position += len(piece)
    return ""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_no_constant)


def decode(record: RecordText) -> dict[str, Any]:
    """The object. Raises Fault(BAD_RECORD)."""
    if record.text is None:
        what = f"{record.size} bytes, over the limit of {MAX_RECORD_BYTES}"
        raise Fault(Reason.BAD_RECORD, what)
    try:
        value = _JSON.decode(record.text.removeprefix(BOM).decode())
        if _SURROGATE.search(record.text):
            json.dumps(value, ensure_ascii=False).encode()  # half a character cannot be stored
    except json.JSONDecodeError as error:
        line = f"its line {error.lineno}, " if error.lineno > 1 else ""
        what = f"not JSON: {error.msg} at {line}column {error.colno}"
        raise Fault(Reason.BAD_RECORD, what) from error
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise Fault(Reason.BAD_RECORD, f"not UTF-8: {error.reason}") from error
    except RecursionError as error:
        raise Fault(Reason.BAD_RECORD, "not JSON: nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits, NaN, Infinity
        raise Fault(Reason.BAD_RECORD, f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise bad("the record", f"expected an object, found {named(value)}")
    return value
