"""Captions of the real corpus by a real server, which is killed in the middle, and by an actor in
the cluster; filtered, without duplicates, translated.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.build import Built, build, call
from pipelines.engine import RayEngine
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from pipelines.verify import verify
from schemas.errors import TransientError
from schemas.manifest import FOLDER
from tests.caption_server import Reply, served
from tests.of_corpus import CORPUS, NEEDED, own_ray, write_corpus
from tests.served_model import ServedModel
from tests.tiny_vlm import write_clip, write_llava

RECIPE = """
name = "captions"

[[sources]]
name = "corpus"
kind = "records"
path = "{records}"
root = "{root}"

[select]
where = ["min_side >= 56", "aspect_ratio <= 20", "max_duration < 60", "answer_chars < 5000"]
dedup = {{ exact = "media", near_bits = 4 }}
max_drop_ratio = 0.6

[[signal]]
name = "likeness"
kind = "similarity"
model = "{clip}"
device = "cpu"

[[policy]]
kind = "qwen2_vl"
max_pixels = 200704

[[caption]]
task = "caption"
keep = "better"
score = "likeness"
when = "always"
max_tokens = 400
temperature = 1.0
max_pixels = 50176
frames = 2
blank_share = 0.05
max_blank_agreement = 0.5
{model}

[[caption]]
task = "translate"
when = {{ signal = "chars", below = 400.0 }}
language = "en"
length_ratio = [0.0, 1e6]
max_tokens = 400
temperature = 1.0
{model}

[pack]
max_tokens = 16384

[output]
path = "{out}"
cache = "{cache}"
"""

pytestmark = [pytest.mark.slow, NEEDED, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def ray() -> Iterator[RayEngine]:
    with own_ray() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_corpus(tmp_path_factory.mktemp("captions"))
    write_llava(made / "llava")
    write_clip(made / "clip")
    return made


def built(folder: Path, ray: RayEngine, out: str, model: str) -> Built:
    text = RECIPE.format(
        records=folder / "records.jsonl",
        root=CORPUS,
        model=model,
        clip=folder / "clip",
        out=folder / out,
        cache=folder / f"{out}-cache",
    )
    path = folder / f"{out}.toml"
    path.write_text(text)
    return build(Workshop(load_recipe(path), ray), call)


def asked(folder: Path, made: Built) -> list[dict[str, Any]]:
    assert made.manifest.captions is not None
    rows: list[dict[str, Any]] = pq.read_table(
        folder / FOLDER / made.manifest.captions.name
    ).to_pylist()
    return rows


def _is_kept(row: dict[str, Any]) -> bool:
    return bool(row["decision"] == "caption")


def test_a_server_that_is_killed_in_the_middle(folder: Path, ray: RayEngine) -> None:
    """The build ends, and goes on where it was when the server is there again: no request that was
    answered is sent again.
    """
    answered: Counter[str] = Counter()
    with (
        ServedModel(folder / "llava", folder / "serve.log") as model,
        served() as front,
    ):

        def forward(number: int, body: dict[str, Any]) -> Reply:
            if number == 60:
                model.kill()
            data = json.dumps(body).encode()
            headers = {"content-type": "application/json"}
            request = urllib.request.Request(f"{model.url}/chat/completions", data, headers)
            try:
                with urllib.request.urlopen(request, timeout=60) as reply:
                    told = reply.read()
            except (urllib.error.URLError, ConnectionError) as error:
                return 503, {}, str(error).encode()
            answered[json.dumps(body)] += 1
            return 200, headers, told

        front.misbehaves = forward
        endpoint = f'endpoint = "{front.url}"\nmodel = "{folder}/llava"\nconcurrency = 4\n'
        with pytest.raises(TransientError, match="503"):
            built(folder, ray, "served", endpoint + "retries = 1")
        before = answered.total()
        assert 40 < before <= 60
        model.start()
        made = built(folder, ray, "served", endpoint + "retries = 4")
    assert answered.total() > 2 * before
    assert max(answered.values()) == 1
    rows = asked(folder / "served", made)
    tasks = Counter((row["task"], row["decision"]) for row in rows)
    assert min(tasks["caption", "caption"], tasks["caption", "original"]) > 50
    assert tasks["translate", "caption"] > 20
    scored = [row for row in rows if row["score"] is not None]
    assert len(scored) > 200
    assert all((row["score"] > row["original_score"]) == _is_kept(row) for row in scored)
    dropped = made.manifest.ledger.dropped
    assert dropped["near_duplicate"] + dropped.get("duplicate", 0) > 0
    assert dropped["filtered"] > 0
    assert verify(folder / "served").problems == []
    assert not built(folder, ray, "served", endpoint).new


def test_an_actor_in_the_cluster(folder: Path, ray: RayEngine) -> None:
    """The same recipe without a server; run again, it asks nothing."""
    model = f'model = "{folder}/llava"\ndevice = "cpu"\nbatch = 8\n'
    made = built(folder, ray, "local", model)
    rows = asked(folder / "local", made)
    assert {row["answered_by"] for row in rows} == {"LlavaForConditionalGeneration"}
    assert {row["model"].partition("@")[0] for row in rows} == {"llava"}
    decided = Counter((row["task"], row["decision"]) for row in rows)
    assert decided["caption", "caption"] > 50
    assert verify(folder / "local").problems == []
    again = built(folder, ray, "local", model)
    assert not again.new
