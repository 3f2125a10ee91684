"""The connection to S3: one for a process, its AWS_* settings and its limits, made when needed.

s3fs brings session, credentials and event loop (a thread of its own); requests go to its client
directly, as its own retries do not end with the body of an answer, and hide the status.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from schemas.errors import RecipeError
from workers.storage.retry import Retry, tried

T = TypeVar("T")

MAX_CONNECTIONS = 32
AT_ONCE = 4
"""Requests of one call that run at the same time, each with up to 16 MiB in memory."""

_CONNECTIONS: dict[tuple[object, ...], Any] = {}


@dataclass(frozen=True, slots=True)
class Target:
    """An object, or a whole bucket where the key is empty, and how long calls are tried."""

    bucket: str
    key: str
    retry: Retry

    @property
    def url(self) -> str:
        """As messages name it."""
        return f"s3://{self.bucket}/{self.key}"


def call(target: Target, operation: str, parameters: Mapping[str, object]) -> dict[str, Any]:
    """One operation of the S3 client by name, tried until it answers."""
    return run(target.retry, lambda connection: called(connection, target, operation, parameters))


async def called(
    connection: Any, target: Target, operation: str, parameters: Mapping[str, object]
) -> dict[str, Any]:
    """The same, in the event loop."""
    place = {"Bucket": target.bucket} | ({"Key": target.key} if target.key else {})

    async def attempt() -> dict[str, Any]:
        s3 = await client(connection)
        answer: dict[str, Any] = await getattr(s3, operation)(**place, **parameters)
        return answer

    return await tried(target.retry, target.url, attempt)


def run(retry: Retry, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """What `work` gives with the connection, run in its event loop; for any thread."""
    from fsspec.asyn import sync

    connection = _connection(retry)
    result: T = sync(connection.loop, work, connection)
    return result


async def client(connection: Any) -> Any:
    """The client, connected at the first call. Raises RecipeError for an endpoint that is none."""
    try:
        return await connection.set_session()
    except ValueError:
        what = "AWS_ENDPOINT_URL is not an address such as http://127.0.0.1:9000"
        raise RecipeError(what) from None  # not shown: it may hold a password


async def together(works: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
    """The results of all, AT_ONCE at a time; the first error ends the others."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(work: Callable[[], Awaitable[T]]) -> T:
        async with free:
            return await work()

    tasks = [asyncio.ensure_future(one(work)) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _connection(retry: Retry) -> Any:
    settings = sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))
    key = (os.getpid(), retry, *settings)  # a forked process makes its own
    if key not in _CONNECTIONS:
        _CONNECTIONS.setdefault(key, _connect(retry))
    return _CONNECTIONS[key]


def _connect(retry: Retry) -> Any:
    from s3fs import S3FileSystem

    return S3FileSystem(
        skip_instance_cache=True,
        use_listings_cache=False,
        config_kwargs={
            "connect_timeout": retry.connect_timeout_s,
            "read_timeout": retry.read_timeout_s,
            "max_pool_connections": MAX_CONNECTIONS,
            "retries": {"total_max_attempts": 1},  # ours are the only ones
        },
    )
