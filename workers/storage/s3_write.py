"""An object written to S3 in one step: one request, or parts that become visible together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from schemas.errors import PatchpackError
from workers.storage.s3_client import Target, call, called, run, together

PART_BYTES = 16 << 20
_MAX_PARTS = 10_000

Read = Callable[[int, int], bytes]
"""The bytes to write, of a range (offset, size)."""


def upload(target: Target, size: int, read: Read) -> None:
    """Write `size` bytes. A failure leaves nothing; a killed process leaves invisible parts, which
    a rule of the bucket should remove (AbortIncompleteMultipartUpload).
    """
    if size <= PART_BYTES:
        call(target, "put_object", {"Body": read(0, size)})
    else:
        run(target.retry, lambda connection: _in_parts(connection, target, size, read))


async def _in_parts(connection: Any, target: Target, size: int, read: Read) -> None:
    step = max(PART_BYTES, -(-size // _MAX_PARTS))
    begun = await called(connection, target, "create_multipart_upload", {})
    this = {"UploadId": begun["UploadId"]}

    async def part(number: int) -> dict[str, object]:
        offset = (number - 1) * step
        body = await asyncio.to_thread(read, offset, min(step, size - offset))
        parameters = this | {"PartNumber": number, "Body": body}
        answer = await called(connection, target, "upload_part", parameters)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    try:
        numbers = range(1, -(-size // step) + 1)
        parts = await together([partial(part, number) for number in numbers])
        whole = this | {"MultipartUpload": {"Parts": parts}}
        await called(connection, target, "complete_multipart_upload", whole)
    except BaseException:
        with suppress(PatchpackError, OSError):  # the first error is the one to tell
            await called(connection, target, "abort_multipart_upload", this)
        raise
