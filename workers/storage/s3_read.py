"""Byte ranges of an object at S3, each whole even where answers break off.

What came of a broken answer is kept and the rest asked for again, from an object that still has the
same ETag.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from schemas.errors import BuildError
from workers.storage.entries import changed
from workers.storage.ranges import Span
from workers.storage.retry import BrokenTransferError, tried
from workers.storage.s3_client import Target, client, run, together

_READ_BYTES = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


@dataclass(slots=True)
class Piece:
    """A range that is being read. `total` is the object's size, -1 before the first answer."""

    start: int
    stop: int
    version: str  # "" where any will do
    total: int = -1
    data: bytearray = field(default_factory=bytearray)


def read(target: Target, spans: Sequence[Span], version: str = "") -> list[Piece]:
    """The ranges, of one version of the object; shorter where it ends before."""
    pieces = [Piece(start, stop, version) for start, stop in spans if start < stop]

    async def fill_all(connection: Any) -> None:
        await together([partial(_fill_tried, connection, target, piece) for piece in pieces])

    run(target.retry, fill_all)
    if len({piece.version for piece in pieces if piece.version}) > 1:
        raise changed(target.url)
    return pieces


def etag(answer: dict[str, Any]) -> str:
    """The version token of an object."""
    return str(answer.get("ETag", "")).strip('"')


async def _fill_tried(connection: Any, target: Target, piece: Piece) -> None:
    attempt = partial(_fill, connection, target, piece)
    await tried(target.retry, target.url, attempt, lambda: len(piece.data))


async def _fill(connection: Any, target: Target, piece: Piece) -> None:
    """One request for what the piece still lacks."""
    from botocore.exceptions import ClientError, FlexibleChecksumError

    begin = piece.start + len(piece.data)
    span = f"bytes={begin}-{piece.stop - 1}"
    s3 = await client(connection)
    try:
        answer = await s3.get_object(Bucket=target.bucket, Key=target.key, Range=span)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("InvalidRange", "416"):
            piece.stop = begin  # the object ends before
            return
        raise
    body = answer["Body"]
    try:
        _take_head(target, piece, begin, answer)
        wanted = piece.stop - piece.start
        while len(piece.data) <= wanted and (data := await body.read(_READ_BYTES)):
            piece.data += data  # up to the end of the body, where its checksum is verified
    except FlexibleChecksumError:
        piece.data.clear()
        raise
    finally:
        body.close()
    if len(piece.data) < wanted:
        raise BrokenTransferError(f"broke off after {len(piece.data)} of {wanted} bytes")
    del piece.data[wanted:]


def _take_head(target: Target, piece: Piece, begin: int, answer: dict[str, Any]) -> None:
    """Size and version from the head of an answer."""
    found = _CONTENT_RANGE.fullmatch(answer.get("ContentRange", ""))
    first, total = (int(found[1]), int(found[2])) if found else (0, int(answer["ContentLength"]))
    if first != begin:
        raise BuildError(f"{target.url}: the server does not answer with byte ranges")
    version = etag(answer)
    if piece.version not in ("", version):
        raise changed(target.url)
    piece.version, piece.total, piece.stop = version, total, min(piece.stop, total)
