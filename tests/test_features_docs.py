"""The examples of docs/features.md: the recipe loads, the code runs on a tiny build."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from pipelines.recipe import Render
from tests.doc_examples import ROOT, printed
from tests.pipelines.conftest import Here, build_in
from tests.tiny_source import write_source
from tests.tiny_towers import write_tower

DOCUMENT = (ROOT / "docs" / "features.md").read_text()


def blocks_of(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def test_the_recipe_is_one() -> None:
    [text] = blocks_of("toml")
    render = Render.model_validate(tomllib.loads(text)["render"])
    assert render.encoder is not None
    assert render.encoder.max_actors == 8


def test_the_commands_name_what_is_there() -> None:
    text = "\n".join(blocks_of("sh"))
    for module in re.findall(r"python -m ((?:examples|benchmarks)\.\w+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
    for path in re.findall(r"recipes/\S+", text):
        assert (ROOT / path).is_file()


def test_the_example_runs(tmp_path: Path) -> None:
    write_source(tmp_path / "source", 10, times=2)
    tower = write_tower(tmp_path / "tower", "siglip", image_size=56)
    policy = 'kind = "llava_onevision"\nimage_size = 56\ngrid_spec = "(1x1),...,(2x2)"'
    encoder = f"model = '{tower}'\ndevice = 'cpu'"
    made = build_in(
        tmp_path, Here(), payload="features", policy=policy, encoder=encoder, max_tokens=1024
    )
    (tmp_path / "build").mkdir()
    (tmp_path / "out").rename(tmp_path / "build" / "demo_features")
    [code] = blocks_of("python")
    told = printed(code, tmp_path)
    packs = made.manifest.partitions[0].packs + made.manifest.partitions[0].fillers
    assert told.count("torch.Size([") == packs
