"""docs/bring-your-data.md: every example runs, and every option is in its table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from pipelines.build import build, call
from pipelines.load_recipe import load_recipe
from pipelines.recipe import Source, SourceOptions
from pipelines.steps import Workshop
from tests.pipelines.conftest import Here

PAGE = (Path(__file__).parents[2] / "docs" / "bring-your-data.md").read_text()
SECTIONS: dict[str, str] = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
KINDS: dict[str, type[BaseModel]] = {
    model.model_fields["kind"].default: model for model in get_args(get_args(SourceOptions)[0])
}


def blocks(section: str, language: str) -> list[str]:
    """The code of a section in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", SECTIONS[section], re.M | re.S)


def run(code: str) -> None:
    exec(compile(code, "docs/bring-your-data.md", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_example_of_a_kind_builds_and_has_the_ledger_that_the_page_shows(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    [code], [source], [expected] = (blocks(kind, name) for name in ("python", "toml", "text"))
    [recipe], [ledger] = blocks("Try it", "toml"), blocks("Try it", "python")
    run(code)
    Path("recipe.toml").write_text(f"{recipe}\n{source}")
    build(Workshop(load_recipe(Path("recipe.toml")), Here()), call)
    capsys.readouterr()
    run(ledger)
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("section", ["Mixtures", "Data that grows", "On S3"])
def test_the_recipes_of_the_page_are_valid(section: str, tmp_path: Path) -> None:
    [recipe], [source] = blocks("Try it", "toml"), blocks(section, "toml")
    path = tmp_path / "recipe.toml"
    path.write_text(f"{recipe}\n{source}")
    assert load_recipe(path).sources


@pytest.mark.parametrize(
    ("section", "heading", "model"),
    [
        ("Keys of every source", "key", Source),
        *((kind, "option", model) for kind, model in KINDS.items()),
    ],
)
def test_the_page_lists_every_key(section: str, heading: str, model: type[BaseModel]) -> None:
    wanted = set(model.model_fields) - ({"options"} if model is Source else {"kind"})
    if "The options are those of `llava_json`" in SECTIONS[section]:
        section = "llava_json"
    table = re.findall(rf"^\| {heading} \|.*\n\|---.*\n((?:\|.*\n)*)", SECTIONS[section], re.M)
    first_cells = [line.split("|")[1] for line in "".join(table).splitlines()]
    listed = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    assert listed - {"kind"} == wanted


def test_the_page_has_a_section_for_every_kind() -> None:
    assert set(KINDS) < SECTIONS.keys()
