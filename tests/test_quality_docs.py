"""docs/quality.md lists every signal as the code has it, and its examples are recipes."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from pipelines.recipe import Recipe
from workers.captioning.config import Caption
from workers.signals.names import SIGNALS

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "quality.md").read_text()
MODELS = [
    {"name": "clip_score", "kind": "similarity", "model": "some/clip"},
]


def examples() -> list[dict[str, Any]]:
    found = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    return [tomllib.loads(text) for text in found]


def whole(example: dict[str, Any]) -> Recipe:
    """The example in a recipe, with what it leaves out."""
    names = ("documents", "scans", "photos", "films")
    sources = [{"name": name, "kind": "folder", "path": "some"} for name in names]
    captions = example.get("caption", [])
    listed = [captions] if isinstance(captions, dict) else captions
    return Recipe.model_validate(
        {
            "name": "example",
            "sources": sources,
            "policy": [{"kind": "qwen2_vl"}],
            "output": {"path": "out"},
            "signal": MODELS,
            **example,
            "caption": [{"model": "m", "endpoint": "http://127.0.0.1/v1", **one} for one in listed],
        }
    )


def test_every_signal_is_listed() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| `")]
    wanted = [f"| `{name}` | {one.kind} | {one.says} |" for name, one in SIGNALS.items()]
    assert [row for row in rows if row in wanted] == wanted


def test_the_examples_are_recipes() -> None:
    recipes = [whole(example) for example in examples()]
    select = recipes[0].select
    assert len(select.where) == 6
    assert select.clauses("documents") == ("chars >= 20",)
    assert select.dedup.near_bits == 4
    tasks = {one.task for recipe in recipes for one in recipe.caption}
    assert tasks == {"caption", "transcribe", "questions", "needle", "translate"}


def test_every_setting_of_captions_is_listed() -> None:
    table = DOCUMENT[DOCUMENT.index("| `[[caption]]` |") :]
    table = table[: table.index("\n\n")]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    listed = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(listed) == sorted(Caption.model_fields)


def test_the_costs_are_those_of_the_benchmarks() -> None:
    results = {
        name: json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
        for name in ("quality", "captions")
    }
    signals = results["quality"]["pictures"]["core_hours_a_million"]
    select = results["quality"]["targets"]["select of a million rows, seconds"]["got"]
    client = results["captions"]["client"]["hours_a_million_pictures"]
    for figure, unit in ((signals, "core hours"), (select, "s, once"), (client, "hours on two")):
        assert f"{figure:.2g} {unit}" in DOCUMENT
