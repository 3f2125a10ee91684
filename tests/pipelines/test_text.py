"""The tokenize stage without Ray: what makes a block be tokenized again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.load_recipe import load_recipe
from pipelines.steps import Block, Workshop
from pipelines.text import text_spec, tokenize_blocks
from schemas.tables import SURVEYED
from tests.pipelines.conftest import Here
from tests.tiny_source import write_recipe
from tests.workers.conversations import sample
from workers.text_config import TextConfig


@pytest.fixture
def tokenized(tmp_path: Path) -> Callable[[str, int], Block]:
    """Tokenizes forty questions about a picture by a recipe with this `media` and `seed`."""
    path = write_recipe(tmp_path / "r.toml", tmp_path / "out", {"s": tmp_path / "s.jsonl"})
    recipe = load_recipe(path)
    assert recipe.output.cache is not None
    rows = [
        sample([("user", ["Q", 0]), ("assistant", ["A"])]) | {"sample_id": f"s/{i}"}
        for i in range(40)
    ]
    table = pa.Table.from_pylist(rows, schema=SURVEYED)
    store = Workshop(recipe, Here()).store
    surveyed = store.write("surveyed", "0" * 64, table)

    def run(media: str, seed: int) -> Block:
        text: Any = {"media": media}
        changed = recipe.model_copy(update={"text": TextConfig(**text), "seed": seed})
        return tokenize_blocks(Workshop(changed, Here()), [Block("s", (), surveyed)])[0]

    return run


def test_the_spec_of_media_in_place_is_that_of_before_there_was_a_choice() -> None:
    assert set(text_spec(TextConfig())) == {"tokenizer", "template", "family"}
    assert text_spec(TextConfig(media="front"))["media"] == "front"


def test_the_seed_counts_only_where_it_chooses(tokenized: Callable[[str, int], Block]) -> None:
    def made(media: str, seed: int) -> tuple[str, str]:
        receipt = tokenized(media, seed).tokenized
        assert receipt is not None
        return receipt.key, receipt.digest

    assert made("in_place", 0) == made("in_place", 1)
    assert made("front", 0) == made("front", 1)
    outcomes = [made("in_place", 0), made("front", 0), made("mixed", 0), made("mixed", 1)]
    assert [len(set(column)) for column in zip(*outcomes, strict=True)] == [4, 4]
