"""Each example of docs/train.md runs as it stands, and its losses are numbers."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from tests.doc_examples import ROOT, printed
from tests.pipelines.conftest import Here, build_in
from tests.tiny_source import write_source

DOCUMENT = (ROOT / "docs" / "train.md").read_text()
EXAMPLES = dict(
    re.findall(r"^## ([^\n]+)\n(?:(?!\n## ).)*?```python\n(.*?)```", DOCUMENT, re.DOTALL | re.M)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a data set in build/demo."""
    root = tmp_path_factory.mktemp("train")
    write_source(root / "source", 80)
    build_in(root, Here(), policy='kind = "qwen2_vl"\nmax_pixels = 12544', max_tokens=400)
    (root / "build").mkdir()
    (root / "out").rename(root / "build" / "demo")
    return root


def test_there_is_one_for_each_trainer() -> None:
    assert list(EXAMPLES) == ["transformers", "Plain torch", "Megatron-Energon"]


@pytest.mark.slow
@pytest.mark.parametrize("trainer", EXAMPLES)
def test_an_example_takes_three_steps(folder: Path, trainer: str) -> None:
    told = printed(EXAMPLES[trainer], folder)
    losses = [float(line.split()[1]) for line in told.splitlines()]
    assert len(losses) == 3
    assert all(math.log(283) / 2 < loss < 2 * math.log(283) for loss in losses)
