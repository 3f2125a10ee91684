"""Bytes of remote files, tried until they are there: `http(s)://` and `s3://`.

- A try that fails in a way that may pass is made again after a delay that doubles up to a limit,
  with jitter, so that many ranks do not come back at once.
- What came before a transfer broke off is kept, and only the rest is asked for: byte ranges.
- Every wait has an end, so a rank that reads never hangs.
No message holds what a server wrote or the query of a URL: either may be a credential.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from patchpack import http, s3
from patchpack.errors import TransferError
from patchpack.http import PassingError

Attempt = Callable[[str, int, int | None, float], Iterator[bytes]]

_SCHEMES: dict[str, Attempt] = {"http": http.attempt, "https": http.attempt, "s3": s3.attempt}


@dataclass(frozen=True, slots=True)
class Retry:
    """How long a transfer is tried."""

    attempts: int = 6
    """Tries in a row that brought nothing."""
    first_delay_s: float = 0.25
    longest_delay_s: float = 8.0
    timeout_s: float = 30.0
    """A try ends when no byte comes for so long."""
    total_s: float = 180.0
    """For one transfer of at most about 16 MiB, delays and all."""

    def delay_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row: half of it by chance."""
        most = min(self.longest_delay_s, self.first_delay_s * 2.0 ** (failures - 1))
        return most * (0.5 + 0.5 * random.random())


def is_remote(url: str) -> bool:
    """Whether it is the URL of a remote place. Raises ValueError for a scheme that is unknown."""
    scheme, separator, _ = url.partition("://")
    if separator and scheme not in _SCHEMES:
        raise ValueError(f"{scheme}:// is not among {', '.join(_SCHEMES)} and local paths")
    return bool(separator)


def shown(url: str) -> str:
    """The URL as messages name it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def pieces(url: str, start: int, stop: int | None, retry: Retry) -> Iterator[bytes]:
    """The bytes from `start` up to `stop` or the end of the file, as they come.

    They end early where the file does. Raises FileNotFoundError, PermissionError, and TransferError
    once the limits are reached.
    """
    attempt = _SCHEMES[url.partition("://")[0]]
    began = time.monotonic()
    failures, done, before = 0, 0, 0
    while stop is None or start + done < stop:
        try:
            for data in attempt(url, start + done, stop, retry.timeout_s):
                done += len(data)
                yield data
                if time.monotonic() - began > retry.total_s:
                    raise PassingError("slow")
            return
        except PassingError as error:
            why = str(error)
        # a try that brought something does not count as failed: a flaky line goes on
        failures = 1 if done > before else failures + 1
        before = done
        delay, spent = retry.delay_s(failures), time.monotonic() - began
        if failures >= retry.attempts or spent + delay > retry.total_s:
            what = f"{why}; given up after {spent:.0f} s at byte {start + done}"
            raise TransferError(f"{shown(url)}: {what}")
        time.sleep(delay)


def read_whole(url: str, retry: Retry) -> bytes:
    """A small file."""
    return b"".join(pieces(url, 0, None, retry))
