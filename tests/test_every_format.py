"""The corpus in every format: the same samples, tokens and payloads in the packs from each.

All builds share a cache, where payloads are found by their content: only the first one renders.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from examples.corpus_records import corpus_records
from pipelines.build import Built, build, call
from pipelines.engine import RayEngine
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from schemas.manifest import FOLDER
from tests.exports import WRITERS, Export, Talk, talk_of
from tests.golden.compare import SHARED
from tests.pipelines.conftest import Recorder
from tests.same_packs import Facts, companies, differences, samples_of

CORPUS = SHARED.parent / "corpus"
RECIPE = """
name = "every"

[[sources]]
name = "corpus"
{source}

[select]
max_drop_ratio = 0.05

[[policy]]
kind = "qwen2_vl"
max_pixels = 100352
nframes = 4

[render]
codec = "jpeg"

[pack]
max_tokens = 16384

[output]
path = "{out}"
cache = "{cache}"
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside this checkout"),
    pytest.mark.timeout(900),
]


@dataclass(frozen=True)
class Baseline:
    """The build of the records, and what it was made from."""

    folder: Path
    talks: list[Talk]
    samples: dict[str, Facts]
    packs: list[list[str]]
    drops: dict[str, str | None]


@pytest.fixture(scope="module")
def engine() -> Iterator[RayEngine]:
    ray = RayEngine()
    yield ray
    ray.close()


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory, engine: RayEngine) -> Baseline:
    """Records of all samples but posed views; a sample of one file has an id that ends as it."""
    folder = tmp_path_factory.mktemp("formats")
    records = [record for record in map(_named, corpus_records(CORPUS)) if talk_of(record)]
    path = folder / "records.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    source = f'kind = "records"\npath = "{path}"\nroot = "{CORPUS}"'
    out, built = _built(folder, "records", Export(frozenset(), source), Recorder(engine))
    talks = [talk for record in records if (talk := talk_of(record))]
    packs = companies(out, built)
    return Baseline(folder, talks, samples_of(out, built), packs, _drops(out, built))


def test_the_corpus_has_what_formats_may_differ_in(baseline: Baseline) -> None:
    assert len(baseline.talks) == 341  # of 344: three are posed views
    assert len(baseline.samples) >= 324
    items = [facts["items"] for facts in baseline.samples.values()]
    assert {len(one) for one in items} >= {0, 1, 2, 4, 7}
    assert {item["item_kind"] for one in items for item in one} == {"image", "video"}


@pytest.mark.parametrize("name", list(WRITERS))
def test_the_corpus_gives_the_same_packs_from(
    name: str, baseline: Baseline, engine: RayEngine
) -> None:
    made = baseline.folder / name
    made.mkdir()
    export = WRITERS[name](baseline.talks, CORPUS, made)
    recorder = Recorder(engine)
    out, built = _built(baseline.folder, name, export, recorder)
    wanted = {key: facts for key, facts in baseline.samples.items() if key in export.ids}
    assert list(differences(samples_of(out, built), wanted)) == []
    assert _drops(out, built) == {key: baseline.drops[key] for key in export.ids}
    assert recorder.asked["run_render"] == 0
    assert len(export.ids) == {"folder": 305, "captioned_parquet": 124}.get(name, 341)
    if len(export.ids) == len(baseline.drops) and name != "internvl":  # which names its sources
        assert companies(out, built) == baseline.packs


def _named(record: dict[str, Any]) -> dict[str, Any]:
    """The record without boxes, which the other formats have no place for."""
    for turn in record["turns"]:
        for part in turn.get("parts", []):
            part.pop("boxes", None)
    talk = talk_of(record)
    if talk and len(talk.media) == 1:
        record["id"] += f".{talk.media[0].extension}"
    return record


def _built(folder: Path, name: str, export: Export, recorder: Recorder) -> tuple[Path, Built]:
    recipe, out = folder / f"{name}.toml", folder / f"{name}-packs"
    recipe.write_text(RECIPE.format(source=export.source, out=out, cache=folder / "cache"))
    return out, build(Workshop(load_recipe(recipe), recorder), call)


def _drops(root: Path, built: Built) -> dict[str, str | None]:
    """The reason of every sample of the ledger."""
    rows = pq.read_table(root / FOLDER / built.manifest.ledger.name).to_pylist()
    return {row["sample_id"].partition("/")[2]: row["drop"] for row in rows}
