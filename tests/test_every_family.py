"""One recipe, and only `[[policy]]` changed: a corpus of every kind of media builds with each.

What was planned from headers is held against what was rendered: sizes of pictures, patches of every
view, and the kind of every token.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from patchpack.layout import Pack
from pipelines.build import build, call
from pipelines.engine import RayEngine
from pipelines.load_recipe import load_recipe
from pipelines.policies import policy_kinds
from pipelines.steps import Workshop
from pipelines.verify import verify
from schemas.manifest import FOLDER
from tests.of_corpus import CORPUS, NEEDED, own_ray, write_corpus
from tests.pipelines.conftest import packs_of
from workers.policies.stills import StillPolicy

RECIPE = """
name = "every"

[[sources]]
name = "corpus"
kind = "records"
path = "{records}"
root = "{root}"

[select]
max_drop_ratio = 0.2

[[policy]]
kind = "{kind}"
{settings}

[render]
codec = "jpeg"

[pack]
max_tokens = 16384

[output]
path = "{out}"
cache = "{cache}"
"""

SETTINGS = {"navit": 'variant = "paper"'}
"""By default NaViT resizes nothing, and takes pictures of whole patches alone."""
SLOW_STRIDE = 32
"""Pixels of a cell of LLaVA-HR's ConvNeXt, which sees the stored view."""

pytestmark = [
    pytest.mark.slow,
    NEEDED,
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus as records; the cache of surveys is shared by all builds."""
    return write_corpus(tmp_path_factory.mktemp("every"))


@pytest.fixture(scope="module")
def engine() -> Iterator[RayEngine]:
    with own_ray() as ray:
        yield ray


@pytest.mark.parametrize("kind", policy_kinds())
def test_the_corpus_builds_with(kind: str, folder: Path, engine: RayEngine) -> None:
    out = folder / kind
    places = {"records": folder / "records.jsonl", "root": CORPUS, "out": out}
    path = folder / f"{kind}.toml"
    path.write_text(
        RECIPE.format(kind=kind, settings=SETTINGS.get(kind, ""), cache=folder / "cache", **places)
    )
    workshop = Workshop(load_recipe(path), engine)
    built = build(workshop, call)
    assert verify(out).problems == []
    ledger = pq.read_table(out / FOLDER / built.manifest.ledger.name).to_pylist()
    planned = {row["sample_id"]: row["tokens"] for row in ledger if row["drop"] is None}
    refused = sum(row["drop"] == "no_video_rule" for row in ledger)
    assert bool(refused) == issubclass(type(workshop.recipe.policy[0].policy), StillPolicy)
    assert len(planned) == built.manifest.ledger.packed >= 327 - refused  # of 344
    found: dict[str, int] = {}
    patch_size = getattr(workshop.recipe.policy[0].policy, "patch_size", None)
    for pack in packs_of(out, built):
        for sample, name in enumerate(pack.header.sample_id):
            start, end = pack.header.cu_seqlens[sample : sample + 2]
            found[name] = end - start
        for item in range(pack.header.items):
            if patch_size is not None:
                _check_views(pack, item, patch_size)
    assert found == planned


def _check_views(pack: Pack, item: int, patch_size: int) -> None:
    """Every stored view of an item has the patches that its grid says."""
    grids = pack.arrays.grid_thw[pack.arrays.grid_item == item].tolist()
    views = list(_views(pack, item))
    assert len(grids) >= len(views) > 0  # a video repeats the views of its first frame
    for (_, rows, columns), (width, height) in zip(grids, views, strict=False):
        assert height // rows == width // columns
        assert height // rows in (patch_size, SLOW_STRIDE)


def _views(pack: Pack, item: int) -> Iterator[tuple[int, int]]:
    """Sizes of the views of the item's first picture, in the order of the model."""
    arrays, pictures = pack.arrays, pack.payloads_of(item)
    sizes = [Image.open(io.BytesIO(one.data.tobytes())).size for one in pictures[:2]]
    crops: np.ndarray[Any, Any] = arrays.crops_ltrb[arrays.crops_item == item]
    cut = [(int(right - left), int(low - top)) for left, top, right, low in crops] or sizes[:1]
    pieces = arrays.pieces[arrays.pieces_item == item, 4:].tolist()
    cut = [(width, height) for width, height in pieces] or cut
    drawn = bool(arrays.thumbnail[item]) and arrays.thumbnail_of[item] != 2
    first = arrays.thumbnail[item] == 1
    if first:
        yield sizes[1] if drawn else tuple(arrays.thumbnail_wh[item].tolist())
    yield from cut
    if arrays.thumbnail[item] and not first:
        yield sizes[1] if drawn else tuple(arrays.thumbnail_wh[item].tolist())
