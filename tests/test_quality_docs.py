"""docs/quality.md lists every signal as the code has it, and its example is a recipe."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from pipelines.select_recipe import Select
from workers.signals.names import SIGNALS

DOCUMENT = (Path(__file__).parents[1] / "docs" / "quality.md").read_text()


def test_every_signal_is_listed() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| `")]
    wanted = [f"| `{name}` | {one.kind} | {one.says} |" for name, one in SIGNALS.items()]
    assert [row for row in rows if row in wanted] == wanted


def test_the_example_is_a_recipe() -> None:
    [text] = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    select = Select.model_validate(tomllib.loads(text)["select"])
    assert len(select.where) == 6
    assert select.clauses("documents") == ("chars >= 20",)
    assert select.dedup.near_bits == 4
