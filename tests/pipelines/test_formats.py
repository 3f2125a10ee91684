"""A few samples of every shape in every format: the same packs from each, and one render for all.

`tests/test_every_format.py` does the same with a corpus of real media, on Ray.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.build import Built, build, call
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from schemas.manifest import FOLDER
from tests.exports import WRITERS, Export, Medium, Talk, record_of
from tests.pipelines.conftest import Here, Recorder
from tests.same_packs import Facts, companies, differences, samples_of
from tests.tiny_source import broken_png, encoded, film, picture

RECIPE = """
name = "formats"

[[sources]]
name = "tiny"
{source}

[select]
max_drop_ratio = 0.5

[[policy]]
kind = "qwen2_vl"
max_pixels = 12544
nframes = 4

[render]
payload = "{payload}"

[pack]
max_tokens = 512

[output]
path = "{out}"
cache = "{cache}"
"""


def shown(name: str, said: str, *paths: str, answer: str = "A gradient.") -> Talk:
    """A question about files, and an answer."""
    media = [Medium("video" if path.endswith(".mp4") else "image", path) for path in paths]
    return Talk(name, (("user", said), ("assistant", answer)), tuple(media))


ASKED = "<image>\nWhat is it?"
TALKS = [
    Talk("document", (("text", "Once <box> a “time”, <|im_end|> twice.\n\n  End. "),)),
    Talk("hello", (("system", "Be brief."), ("user", " Hello\n"), ("assistant", "Hello."))),
    shown("plain.png", ASKED, "plain.png"),
    shown("turned.jpg", ASKED, "turned.jpg"),
    shown("jpeg-by-content.png", ASKED, "jpeg-by-content.png"),
    shown("see-through.png", "<image>", "see-through.png"),
    shown(
        "inside.png", "In <image> here, <ref>what</ref>?", "plain.png", answer=" Blanks around. "
    ),
    shown("several", "<image>\n<image>\nAlike?", "plain.png", "turned.jpg"),
    shown("twice", "<image> and <image>?", "plain.png", "plain.png"),
    shown("film.mp4", "<video>\nWhat moves?", "film.mp4"),
    shown("mixed", "<video> <image>\n<video>", "film.mp4", "plain.png", "film.mp4"),
    shown("cut.png", ASKED, "cut.png"),
    shown("broken.png", ASKED, "broken.png"),
    Talk(
        "turns",
        (
            *(("user", "<image>First."), ("assistant", "One.")),
            *(("user", "Then <image>\nthis."), ("assistant", "Two.")),
        ),
        (Medium("image", "turned.jpg"), Medium("image", "see-through.png")),
    ),
    Talk(
        "story",
        (("text", "A <image> stands\n<image>\nhere.<video>"),),
        (
            *(Medium("image", "plain.png"), Medium("image", "jpeg-by-content.png")),
            Medium("video", "film.mp4"),
        ),
    ),
]


@dataclass(frozen=True)
class Baseline:
    """The build of the records."""

    folder: Path
    samples: dict[str, Facts]
    packs: list[list[str]]
    drops: dict[str, str | None]


@pytest.fixture(scope="module", params=["pixels", "source"])
def baseline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "media").mkdir()
    for name, data in media().items():
        (folder / "media" / name).write_bytes(data)
    path = folder / "records.jsonl"
    path.write_text("".join(json.dumps(record_of(talk)) + "\n" for talk in TALKS))
    source = f'kind = "records"\npath = "{path}"\nroot = "{folder}/media"'
    out, built, _ = made(folder, "records", Export(frozenset(), source))
    return Baseline(folder, samples_of(out, built), companies(out, built), drops(out, built))


def test_the_samples_are_as_different_as_formats_may_be(baseline: Baseline) -> None:
    packed = [name for name, drop in baseline.drops.items() if drop is None]
    assert sorted(baseline.samples) == sorted(packed)
    assert len(TALKS) - len(packed) == (2 if baseline.folder.name == "pixels0" else 1)
    assert baseline.drops["cut.png"] == "truncated"
    assert len(baseline.packs) > 2
    counts = [len(facts["items"]) for facts in baseline.samples.values()]
    assert set(counts) == {0, 1, 2, 3}


@pytest.mark.parametrize("name", list(WRITERS))
def test_every_format_gives_the_same_packs(name: str, baseline: Baseline) -> None:
    folder = baseline.folder / name
    folder.mkdir()
    export = WRITERS[name](TALKS, baseline.folder / "media", folder)
    out, built, rendered = made(baseline.folder, name, export)
    wanted = {key: facts for key, facts in baseline.samples.items() if key in export.ids}
    assert list(differences(samples_of(out, built), wanted)) == []
    assert drops(out, built) == {key: baseline.drops[key] for key in export.ids}
    assert rendered == 0
    assert len(export.ids) == {"folder": 8, "captioned_parquet": 6}.get(name, len(TALKS))
    if len(export.ids) == len(baseline.drops) and name != "internvl":  # which names its sources
        assert companies(out, built) == baseline.packs


def media() -> dict[str, bytes]:
    image = picture(5)
    clear = image.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(image.size))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by 90 degrees
    return {
        "plain.png": encoded(image, "png"),
        "turned.jpg": encoded(picture(9), "jpeg", quality=90, exif=exif),
        "jpeg-by-content.png": encoded(picture(11), "jpeg", quality=90),
        "see-through.png": encoded(clear, "png"),
        "cut.png": encoded(picture(7), "png")[:-30],
        "broken.png": broken_png(),
        "film.mp4": film(),
    }


def made(folder: Path, name: str, export: Export) -> tuple[Path, Built, int]:
    """The build of an export: where, what, and how many blocks it had to render."""
    recipe, out = folder / f"{name}.toml", folder / f"{name}-packs"
    recipe.write_text(
        RECIPE.format(
            source=export.source, payload=folder.name[:-1], out=out, cache=folder / "cache"
        )
    )
    recorder = Recorder(Here())
    built = build(Workshop(load_recipe(recipe), recorder), call)
    return out, built, recorder.asked["run_render"]


def drops(root: Path, built: Built) -> dict[str, str | None]:
    """The reason of every sample of the ledger."""
    rows = pq.read_table(root / FOLDER / built.manifest.ledger.name).to_pylist()
    return {row["sample_id"].partition("/")[2]: row["drop"] for row in rows}
