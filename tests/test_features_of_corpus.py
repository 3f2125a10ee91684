"""The corpus built with features of tiny towers, and read back: as many rows as were planned, for
every sample, and the rows that transformers gives for pictures of it alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from patchpack import Pack, PackedShards
from patchpack.collate import blocks, vision_tokens
from patchpack.item_geometry import grids_of
from patchpack.vision_inputs import features, item_features
from pipelines.build import build, call
from pipelines.engine import RayEngine
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from pipelines.verify import verify
from schemas.manifest import FOLDER
from tests.of_corpus import CORPUS, NEEDED, own_ray, write_corpus
from tests.tiny_towers import write_tower

RECIPE = """
name = "features"

[[sources]]
name = "corpus"
kind = "records"
path = "{records}"
root = "{root}"

[select]
max_drop_ratio = 0.05

[[policy]]
kind = "{kind}"

[render]
payload = "features"

[render.encoder]
model = "{tower}"
device = "cpu"
{encoder}

[pack]
max_tokens = 16384

[output]
path = "{out}"
cache = "{cache}"
"""
TINY = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16}
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "llava_onevision": ("siglip", {**TINY, "image_size": 384}, ""),
    "internvl": ("internvit", {**TINY, "image_size": [448, 448]}, ""),
    "qwen2_vl": ("qwen2_vl", {"depth": 1, "embed_dim": 16}, 'at = "post_merger"'),
    "oryx": ("siglip", {**TINY, "patch_size": 16}, 'resolution = "native"'),
    "siglip2_naflex": ("siglip2", TINY, "stored = 'int8'"),
}

pytestmark = [
    pytest.mark.slow,
    NEEDED,
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus as records; the cache of surveys is shared by all builds."""
    return write_corpus(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def engine() -> Iterator[RayEngine]:
    with own_ray() as ray:
        yield ray


@pytest.mark.parametrize("kind", CASES)
def test_the_corpus_builds_with(kind: str, folder: Path, engine: RayEngine) -> None:
    tower_kind, settings, encoder = CASES[kind]
    out, tower = folder / kind, write_tower(folder / f"tower-{kind}", tower_kind, **settings)
    places = {"records": folder / "records.jsonl", "root": CORPUS, "out": out, "tower": tower}
    path = folder / f"{kind}.toml"
    path.write_text(
        RECIPE.format(kind=kind, encoder=encoder, cache=folder / "cache", **places), "utf-8"
    )
    built = build(Workshop(load_recipe(path), engine), call)
    assert verify(out).problems == []
    ledger = pq.read_table(out / FOLDER / built.manifest.ledger.name).to_pylist()
    planned = {row["sample_id"] for row in ledger if row["drop"] is None}
    assert len(planned) == built.manifest.ledger.packed >= 327  # of 344
    seen: set[str] = set()
    items = 0
    for pack in PackedShards(out):
        seen.update(pack.header.sample_id)
        for item in range(pack.header.items):
            _check_item(pack, item, kind)
            items += 1
        together = features(pack)
        assert together is None or bool(torch.isfinite(together.float()).all())
    assert seen == planned
    assert items > 300


def _check_item(pack: Pack, item: int, kind: str) -> None:
    """As many features as the item has tokens of kind vision."""
    views = item_features(pack, item)
    start = pack.header.item_start[item]
    kinds = pack.arrays.token_kind[start : start + pack.header.item_length[item]]
    planned = int((kinds == 1).sum())
    grids, merge = grids_of(pack, item), pack.header.merge[item]
    if kind == "oryx" and merge > 1:
        pooled = [
            blocks(view.view(t, h * w, -1)[frame], (h, w), merge).mean(dim=1)
            for view, (t, h, w) in zip(views, grids, strict=True)
            for frame in range(t)
        ]
        assert sum(map(len, pooled)) == planned
        return
    assert len(vision_tokens(pack, item, views)) == planned
    assert len(views) == len(grids)
