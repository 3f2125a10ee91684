"""The order of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

READER = Path(__file__).parent / "patchpack"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The reader's tests first: once Prefect has run in a process, children that it forks, as a
    DataLoader's workers are, end with exit code 1.
    """
    items.sort(key=lambda item: READER not in item.path.parents)
