"""How long a remote call is tried, and what may pass.

A try that fails in a way that may pass is made again after a delay that doubles up to a limit, with
jitter, so that many workers do not come back at once. Tries end after `attempts` that brought
nothing, or after `total_s`: then it is a TransientError. No message holds what a server or library
wrote, as that may quote credentials: only a status, a code, or the kind of fault.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from schemas.errors import BuildError, TransientError

T = TypeVar("T")

_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_PASSING_CODES = frozenset(
    {
        "ConditionalRequestConflict",
        "InternalError",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)
_DENIED_CODES = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})


@dataclass(frozen=True, slots=True)
class Retry:
    """The limits. A try ends when no byte comes for `read_timeout_s`."""

    attempts: int = 6
    first_delay_s: float = 0.25
    longest_delay_s: float = 8.0
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    total_s: float = 180.0

    def delay_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row: half of it by chance."""
        most = min(self.longest_delay_s, self.first_delay_s * 2.0 ** (failures - 1))
        return most * (0.5 + 0.5 * random.random())


class BrokenTransferError(Exception):
    """A body ended before its end; the message says where."""


async def tried(
    retry: Retry, url: str, attempt: Callable[[], Awaitable[T]], done: Callable[[], int] = lambda: 0
) -> T:
    """What `attempt` gives, after as many tries as it takes.

    `done` counts the bytes of earlier tries that need not be read again: a try that added to them
    does not count as failed, so a slow or flaky line goes on as long as it goes forward.
    Raises what `cause` raises for faults that do not pass, and TransientError.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    failures, before = 0, 0
    while True:
        try:
            async with asyncio.timeout_at(began + retry.total_s):
                return await attempt()
        except _caught() as error:
            why = cause(error, url)
        failures = 1 if done() > before else failures + 1
        before = done()
        delay = retry.delay_s(failures)
        spent = clock() - began
        if failures >= retry.attempts or spent + delay > retry.total_s:
            raise TransientError(f"{url}: {why}; given up after {spent:.0f} s") from None
        await asyncio.sleep(delay)


def cause(error: Exception, url: str) -> str:
    """The fault in a few words, if it may pass; raises the error that it means otherwise."""
    from botocore import exceptions as aws

    if isinstance(error, aws.ClientError):
        return _answer(error.response, url)
    if isinstance(error, BrokenTransferError):
        return str(error)
    if isinstance(error, aws.NoCredentialsError | aws.PartialCredentialsError):
        what = "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        raise PermissionError(errno.EACCES, what, url) from None
    passing = (
        aws.HTTPClientError,
        aws.ConnectionError,
        aws.FlexibleChecksumError,
        aws.IncompleteReadError,
    )
    if isinstance(error, aws.BotoCoreError) and not isinstance(error, passing):
        raise BuildError(f"{url}: {type(error).__name__}; look at the AWS_* settings") from None
    return "timed out" if isinstance(error, TimeoutError) else type(error).__name__


def _answer(response: dict[str, dict[str, str | int]], url: str) -> str:
    """An error that the server gave: what it means, or a few words if it may pass."""
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(response.get("Error", {}).get("Code", ""))
    if not code.isalnum() or len(code) > 60:
        code = ""
    said = f"the server answered {status}" + (f" {code}" if code not in ("", str(status)) else "")
    if code == "NoSuchUpload":
        raise TransientError(f"{url}: {said}: the upload was removed while it ran") from None
    if status in _PASSING_STATUS or code in _PASSING_CODES:
        return said
    if status in (401, 403) or code in _DENIED_CODES:
        raise PermissionError(errno.EACCES, f"no permission, {said}", url) from None
    if status == 404 or code == "KeyTooLongError":
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url) from None
    if status == 412:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), url) from None
    raise BuildError(f"{url}: {said}") from None


def _caught() -> tuple[type[Exception], ...]:
    """All that a call can fail with that is not a bug of ours."""
    from aiohttp import ClientError
    from botocore import exceptions as aws
    from botocore.parsers import ResponseParserError

    remote = (aws.ClientError, aws.BotoCoreError, ResponseParserError)
    return (*remote, ClientError, BrokenTransferError, OSError)
