"""One request for a byte range of an object at S3, through the client that s3fs holds.

Settings and credentials are those of every AWS program, from the environment (AWS_*). Requests go
to the client directly: s3fs's own retries do not cover the body of an answer, and hide the status.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

from patchpack.http import PassingError, of_status

READ_BYTES = 1 << 20

_PASSING_CODES = frozenset(
    {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling"}
)
_CONNECTIONS: dict[tuple[object, ...], Any] = {}


def attempt(url: str, start: int, stop: int | None, timeout_s: float) -> Iterator[bytes]:
    """The bytes from `start` up to `stop` or the end of the object.

    Raises PassingError, FileNotFoundError, PermissionError, and ModuleNotFoundError where s3fs is
    not installed.
    """
    connection = _connection(timeout_s)
    from aiohttp import ClientError as BodyError
    from botocore import exceptions as aws
    from fsspec.asyn import sync

    bucket, _, key = url.removeprefix("s3://").partition("/")
    span = f"bytes={start}-{'' if stop is None else stop - 1}"

    async def ask() -> Any:
        client = await connection.set_session()
        return await client.get_object(Bucket=bucket, Key=key, Range=span)

    position = start
    try:
        # the client has its own limits; these are for what they miss
        answer = sync(connection.loop, ask, timeout=3 * timeout_s)
        end = start + int(answer["ContentLength"])
        while data := sync(connection.loop, answer["Body"].read, READ_BYTES, timeout=2 * timeout_s):
            position += len(data)
            yield data
        if position < _end(answer, end):
            raise PassingError(f"broke off at byte {position}")
    except aws.ClientError as error:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(error.response.get("Error", {}).get("Code", ""))
        if status == 416 or code == "InvalidRange":  # the object ends before
            return
        raise _meaning(status, code, url) from None
    except (aws.NoCredentialsError, aws.PartialCredentialsError):
        what = "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        raise PermissionError(errno.EACCES, what, url) from None
    except TimeoutError:
        raise PassingError("timed out") from None
    except (aws.BotoCoreError, BodyError, OSError) as error:
        raise PassingError(type(error).__name__) from None


def _end(answer: dict[str, Any], stated: int) -> int:
    """Where the answer should end: the range says more than the length if a proxy cut the body."""
    _, _, span = answer.get("ContentRange", "").partition(" ")
    last = span.partition("/")[0].partition("-")[2]
    return int(last) + 1 if last.isdigit() else stated


def _meaning(status: int, code: str, url: str) -> Exception:
    if code in _PASSING_CODES:
        return PassingError(f"the server answered {status} {code}")
    if code == "NoSuchKey" or code == "NoSuchBucket":
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url)
    return of_status(status, url)


def _connection(timeout_s: float) -> Any:
    """One for a process, its AWS_* settings and this limit: a forked process makes its own."""
    settings = sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))
    key = (os.getpid(), timeout_s, *settings)
    if key not in _CONNECTIONS:
        _CONNECTIONS.setdefault(key, _connect(timeout_s))
    return _CONNECTIONS[key]


def _connect(timeout_s: float) -> Any:
    try:
        from s3fs import S3FileSystem
    except ModuleNotFoundError:
        what = "reading s3:// needs s3fs: pip install 'patchpack[remote]'"
        raise ModuleNotFoundError(what) from None
    return S3FileSystem(
        skip_instance_cache=True,
        use_listings_cache=False,
        config_kwargs={
            "connect_timeout": min(10.0, timeout_s),
            "read_timeout": timeout_s,
            "retries": {"total_max_attempts": 1},  # ours are the only ones
        },
    )
