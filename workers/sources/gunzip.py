"""A .tar.gz as a plain tar beside it, so that byte ranges of its members can be read.

The stream is decompressed in small pieces, of several gzip members too (pigz, bgzip).
What cannot be trusted is refused: more bytes than the limit, or so much more than was compressed
that it can only be a bomb. A file that is cut off gives what came before the cut: the tar's index
then shows the damage. A checksum that is wrong says that some byte is, and nobody knows which.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from schemas.errors import BuildError, RecipeError
from workers.durable import whole_file, write_all

if TYPE_CHECKING:
    from workers.storage.folder import Folder

VERSION = 1

MAX_RATIO = 200
"""Bytes out for a byte in; no archive of media and text comes near, deflate ends at 1032."""
FREE_BYTES = 64 << 20
"""Below this the ratio does not matter."""
_PIECE_BYTES = 1 << 20
_MAGIC = b"\x1f\x8b"


def is_compressed(path: str) -> bool:
    """Whether a tar has to be unpacked first, by its name."""
    return path.endswith((".tar.gz", ".tgz"))


def unpack(folder: Folder, path: str, out: Path, max_bytes: int) -> None:
    """Write the plain tar to `out`, which is whole or not there.

    Raises RecipeError where the file is not there or no gzip file, and BuildError where it is over
    a limit or has a wrong checksum.
    """
    name = f"{folder.url}/{path}"
    try:
        file = folder.open(path)
    except FileNotFoundError:
        raise RecipeError(f"{name}: no such file") from None
    with closing(file), whole_file(out) as descriptor:
        if file.read(2) != _MAGIC:
            raise RecipeError(f"{name}: not gzip-compressed; a plain tar is named .tar")
        file.seek(0)
        written = 0
        for piece in _decompressed(file, name):
            written += len(piece)
            if written > max_bytes:
                what = f"it unpacks to more than {max_bytes} bytes, the limit (max_unpacked_bytes)"
                raise BuildError(f"{name}: {what}")
            if written > FREE_BYTES and written > MAX_RATIO * file.tell():
                what = f"{file.tell()} bytes unpack to more than {written}: a decompression bomb"
                raise BuildError(f"{name}: {what}")
            write_all(descriptor, [memoryview(piece)])


def _decompressed(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The bytes in pieces, up to the end, a cut, or what cannot be decompressed."""
    stream = zlib.decompressobj(wbits=31)
    waiting = file.read(_PIECE_BYTES)
    while waiting:
        try:
            yield stream.decompress(waiting, _PIECE_BYTES)
        except zlib.error as error:
            if "data check" in str(error) or "length check" in str(error):
                raise BuildError(f"{name}: its checksum is wrong: a byte has changed") from error
            return
        waiting = stream.unconsumed_tail
        if stream.eof:
            waiting = stream.unused_data
            if len(waiting) < len(_MAGIC):
                waiting += file.read(_PIECE_BYTES)
            if not waiting.startswith(_MAGIC):  # the end, or padding
                return
            stream = zlib.decompressobj(wbits=31)
        waiting = waiting or file.read(_PIECE_BYTES)
    yield stream.flush()
