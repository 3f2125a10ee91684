"""docs/policies.md says what the policies are."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from benchmarks.policy_table import settings, tokens
from benchmarks.resamplers import table
from pipelines.policies import policy_kinds
from pipelines.recipe import Recipe

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "policies.md").read_text()


def words(text: str) -> set[str]:
    """What stands between backticks, outside blocks of code."""
    return set(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))


def blocks(language: str) -> list[str]:
    """The page's code in this language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_tables_are_those_that_the_policies_give() -> None:
    """If this fails, paste what `python -m benchmarks.policy_table` prints."""
    assert tokens() in PAGE
    assert settings() in PAGE


def test_the_resamplers_are_those_measured_last() -> None:
    kept = json.loads((ROOT / "benchmarks" / "results" / "resamplers.json").read_text())
    assert table(kept["policies"]) in PAGE


@pytest.mark.parametrize("kind", policy_kinds())
def test_every_kind_variant_and_setting_is_named(kind: str) -> None:
    model = policy_kinds()[kind]
    variants = get_args(model.model_fields["variant"].annotation)
    if "video_variant" in model.model_fields:
        variants += get_args(model.model_fields["video_variant"].annotation)
    assert {kind, *variants} - words(PAGE) == set()
    explained = words(PAGE[PAGE.index("## Settings") :])
    assert set(model.model_fields) - explained == set()


def test_the_recipe_is_one() -> None:
    [text] = blocks("toml")
    recipe = Recipe.model_validate(tomllib.loads(text))
    assert [rule.match.signal for rule in recipe.policy] == ["max_side", None]


def test_the_example_runs() -> None:
    [text] = blocks("python")
    found: dict[str, Any] = {}
    exec(text, found)
    assert found["table"].column("llm_tokens").to_pylist() == [393, 4958, 1794, 1794]
