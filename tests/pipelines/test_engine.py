"""What the driver is told when a task fails in a way that nobody foresaw."""

from __future__ import annotations

import os

import pytest

from pipelines.engine import RayEngine
from schemas.errors import BuildError, TransientError

pytestmark = pytest.mark.slow


def divide(spec: int) -> int:
    """One over the spec."""
    return 1 // spec


def die(spec: int) -> int:
    """As a picture does that crashes a decoder."""
    os._exit(spec)


def test_a_bug_is_one_line_with_its_place(ray_engine: RayEngine) -> None:
    with pytest.raises(BuildError) as caught:
        list(ray_engine.map(divide, [1, 0]))
    message = str(caught.value)
    assert message.startswith("divide: ZeroDivisionError: ")
    assert __file__ in message
    assert "\n" not in message


def test_a_worker_that_always_dies_ends_the_build() -> None:
    engine = RayEngine(1)
    try:
        with pytest.raises(TransientError, match=r"^die: WorkerCrashedError: "):
            list(engine.map(die, [139]))
    finally:
        engine.close()
