"""What crosses between the driver and its workers: specs and results pickled, errors for a person
as values.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from schemas.errors import BuildError, PatchpackError, TransientError, may_pass

Spec = TypeVar("Spec")
Result = TypeVar("Result")

Make = Callable[[int], Callable[[Spec], Result]]
"""What an actor calls once, with the CPUs that it has, for the function that it then runs."""


def task(function: Callable[[Spec], Result]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    """The function as Ray Data wants it: a row in, a row out, errors for a person as values."""
    name = getattr(function, "__name__", type(function).__name__)

    def run(row: dict[str, bytes]) -> dict[str, bytes]:
        result = _answer(name, lambda: function(pickle.loads(row["spec"])))
        return {"result": pickle.dumps(result)}

    return run


class Actor:
    """A function that was made in this process; what its making raised is every answer."""

    def __init__(self, make: Make[Spec, Result], cpus: int) -> None:
        made = _answer("an actor", lambda: _numbered(make(cpus)))
        self._run = (
            (lambda _: {"result": pickle.dumps(made)})
            if isinstance(made, Exception)
            else (task(made))
        )

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        return self._run(row)


def _numbered(
    function: Callable[[Spec], Result],
) -> Callable[[tuple[int, Spec]], tuple[int, Result]]:
    """The same for a spec with its number, under its name."""

    def run(numbered: tuple[int, Spec]) -> tuple[int, Result]:
        return numbered[0], function(numbered[1])

    run.__name__ = getattr(function, "__name__", type(function).__name__)
    return run


def _answer(name: str, work: Callable[[], Any]) -> Any:
    """What the work returns; what it raises as an error for a person."""
    try:
        return work()
    except PatchpackError as error:
        return error
    except OSError as error:
        kind = TransientError if may_pass(error) else BuildError
        return kind(f"{error.filename or name}: {error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - a bug; Ray tells it with pages, or not at all
        return BuildError(f"{name}: {named(error)}, {_raised_at(error)}")


def unwrap(answer: bytes) -> Any:
    """What `task` wrapped."""
    result = pickle.loads(answer)
    if isinstance(result, PatchpackError):
        raise result
    return result


def named(error: BaseException) -> str:
    """The exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _raised_at(error: BaseException) -> str:
    """Where in the source, as `file:line`."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"
