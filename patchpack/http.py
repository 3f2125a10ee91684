"""One request for a byte range over HTTP, with what the standard library has."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

READ_BYTES = 256 << 10
PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class PassingError(Exception):
    """A try failed in a way that may pass; the message says how, in a few words."""


def attempt(url: str, start: int, stop: int | None, timeout_s: float) -> Iterator[bytes]:
    """The bytes from `start` up to `stop` or the end of the file.

    Raises PassingError, FileNotFoundError and PermissionError. A server that knows no ranges sends
    the whole file, of which what lies before `start` is thrown away.
    """
    span = f"bytes={start}-{'' if stop is None else stop - 1}"
    request = Request(url, headers={"Range": span, "Accept-Encoding": "identity"})
    try:
        with urlopen(request, timeout=timeout_s) as answer:
            yield from _body(answer, start, stop)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # the file ends before
            return
        raise of_status(error.code, url) from None
    except URLError as error:
        raise PassingError(_cause(error.reason)) from None
    except (HTTPException, OSError) as error:
        raise PassingError(_cause(error)) from None


def of_status(status: int, url: str) -> Exception:
    """The error that an answer with this status means."""
    place = url.partition("?")[0]
    if status in PASSING_STATUS:
        return PassingError(f"the server answered {status}")
    if status in (401, 403):
        return PermissionError(errno.EACCES, f"no permission, the server answered {status}", place)
    if status in (404, 410):
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place)
    return OSError(errno.EIO, f"the server answered {status}", place)


def _body(answer: HTTPResponse, start: int, stop: int | None) -> Iterator[bytes]:
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status == 206 and (not found or int(found[1]) != start):
        raise PassingError("the server answered with another range")
    position = int(found[1]) if found and answer.status == 206 else 0
    length = answer.headers.get("Content-Length")
    end = int(found[2]) + 1 if found else int(length) if length else None
    if stop is not None and end is not None:
        end = min(end, stop)
    while end is None or position < end:
        data = answer.read1(READ_BYTES)
        if not data:
            break
        before, position = position, position + len(data)
        if position > start:
            first = max(0, start - before)
            yield data[first : None if stop is None else stop - before]
    if end is not None and position < end:
        raise PassingError(f"broke off at byte {position} of {end}")


def _cause(error: BaseException | str) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return error if isinstance(error, str) else type(error).__name__
