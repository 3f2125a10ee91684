"""Signals of models: as transformers gives them, measured once, and what a change asks again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image

from pipelines.build import Built, build, call
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from schemas.errors import RecipeError
from tests.caption_server import served
from tests.pipelines.conftest import Here, Recorder
from tests.pipelines.test_captions import captions, passed
from tests.tiny_source import asked, encoded, film, ledger_rows, picture, write_records
from tests.tiny_vlm import write_classifier, write_clip, write_siglip
from workers.signals.classify import Classifier
from workers.signals.similarity import Similarity

TEXTS = ("a red house and a dog", "the river under the bridge", "white stone")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_clip(folder / "clip")
    write_siglip(folder / "siglip")
    write_classifier(folder / "safety", "safe", "unsafe", "odd")
    write_classifier(folder / "taste")
    return folder


def source(folder: Path, answer: str = "the river under the bridge") -> None:
    files = {f"{n}.png": encoded(picture(n), "png") for n in range(6)}
    records = [asked(f"p{n}", f"{n}.png", answer=answer) for n in range(5)]
    records += [
        asked("two", "0.png", "5.png", answer=answer),
        asked("film", {"type": "video", "path": "clip.mp4"}, answer=answer),
        {"id": "text", "turns": [{"role": "text", "text": "A page without a picture."}]},
    ]
    write_records(folder / "source", {**files, "clip.mp4": film()}, records)


def recipe(folder: Path, signals: str, select: str, more: str = "") -> Path:
    path = folder / "recipe.toml"
    path.write_text(
        "name = 'tiny'\n[[sources]]\nname = 'tiny'\nkind = 'records'\n"
        f"path = '{folder}/source/records.jsonl'\n{signals}\n"
        f"[select]\nmax_drop_ratio = 1.0\n{select}\n{more}\n"
        "[[policy]]\nkind = 'qwen2_vl'\n[pack]\nmax_tokens = 1024\nlanes = 2\n"
        f"[output]\npath = '{folder}/out'\n"
    )
    return path


def signal(name: str, kind: str, model: Path, more: str = "") -> str:
    head = f"[[signal]]\nname = '{name}'\nkind = '{kind}'\nmodel = '{model}'\n"
    return f"{head}device = 'cpu'\nbatch = 3\n{more}\n"


def built(path: Path, engine: Any = None) -> Built:
    return build(Workshop(load_recipe(path), engine or Here()), call)


def filtered(folder: Path, made: Built) -> dict[str, str]:
    rows = ledger_rows(folder / "out", made.manifest)
    return {
        name.removeprefix("tiny/"): row["message"]
        for name, row in rows.items()
        if row["drop"] == "filtered"
    }


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_similarity_is_that_of_the_model(models: Path, name: str) -> None:
    """One by one, and with the model's own scores of pairs; a long text is cut."""
    pictures = [picture(n) for n in range(3)]
    texts = [*TEXTS[:2], "white stone " * 40]
    found = Similarity("signal.0", str(models / name), "cpu", 2).scores(pictures, texts)
    model = transformers.AutoModel.from_pretrained(models / name)
    processors: Any = transformers.AutoProcessor
    processor = processors.from_pretrained(models / name, backend="pil")
    for one, text, score in zip(pictures, texts, found, strict=True):
        given = processor(
            images=[one],
            text=[text],
            padding="max_length" if name == "siglip" else True,
            truncation=True,
            max_length=16,
            return_tensors="pt",
        )
        with torch.inference_mode():
            out = model(**given)
        wanted = torch.nn.functional.cosine_similarity(out.image_embeds, out.text_embeds)
        assert score == pytest.approx(wanted.item(), abs=1e-5)


def test_a_label_has_the_probability_of_the_model(models: Path) -> None:
    pictures = [picture(n) for n in range(4)]
    found = Classifier("signal.0", str(models / "safety"), "cpu", 3, "unsafe").values(pictures)
    model = transformers.AutoModelForImageClassification.from_pretrained(models / "safety")
    processors: Any = transformers.AutoImageProcessor
    processor = processors.from_pretrained(models / "safety", backend="pil")
    with torch.inference_mode():
        logits = model(**processor(images=pictures, return_tensors="pt")).logits
    assert found == pytest.approx(logits.softmax(dim=1)[:, 1].tolist(), abs=1e-5)
    value = Classifier("signal.0", str(models / "taste"), "cpu", 3, None).values(pictures)
    assert len(set(value)) == 4


def test_clauses_name_signals_of_models(tmp_path: Path, models: Path) -> None:
    """A sample without a picture has none, so it stays; of two pictures the larger value counts."""
    source(tmp_path)
    signals = signal("unsafe", "classification", models / "safety", "label = 'unsafe'")
    signals += signal("likeness", "similarity", models / "clip")
    head = Classifier("signal.0", str(models / "safety"), "cpu", 3, "unsafe")
    values = head.values([_seen(picture(n)) for n in range(6)])
    edge = sorted(values)[3]
    made = built(recipe(tmp_path, signals, f"where = ['unsafe < {edge!r}', 'likeness < 2']"))
    found = filtered(tmp_path, made)
    over = {f"p{n}" for n in range(5) if values[n] >= edge}
    assert {name for name in found if name not in ("film", "two")} == over
    assert ("two" in found) == (max(values[0], values[5]) >= edge)
    none = built(recipe(tmp_path, signals, "where = ['likeness is null']"))
    assert set(filtered(tmp_path, none)) == {"p0", "p1", "p2", "p3", "p4", "two", "film"}


def _seen(image: Image.Image) -> Image.Image:
    return image.resize(image.size, Image.Resampling.BICUBIC)


def test_a_model_is_asked_once(tmp_path: Path, models: Path) -> None:
    """Another threshold asks nothing; another text only what reads it."""
    source(tmp_path)
    signals = signal("taste", "classification", models / "taste")
    signals += signal("likeness", "similarity", models / "siglip")
    signals += signal("unused", "classification", models / "safety", "label = 'odd'")
    engine = Recorder(Here())
    built(recipe(tmp_path, signals, "where = ['taste > -99', 'likeness > -2']"), engine)
    assert engine.asked["encode"] == 2
    again = Recorder(Here())
    built(recipe(tmp_path, signals, "where = ['taste > -98', 'likeness > -3']"), again)
    assert again.asked["encode"] == 0
    source(tmp_path, "a small boat")
    other = Recorder(Here())
    built(recipe(tmp_path, signals, "where = ['taste > -98', 'likeness > -3']"), other)
    assert other.asked["encode"] == 1


@pytest.mark.parametrize(
    ("signals", "told"),
    [
        ("kind = 'classification'\nmodel = '{m}/safety'\nlabel = 'bad'", "label 'bad' is none of"),
        ("kind = 'classification'\nmodel = '{m}/taste'\nlabel = 'bad'", "takes no label"),
        ("kind = 'similarity'\nmodel = '{m}/safety'", "signal.0"),
        ("kind = 'similarity'\nmodel = '{m}/nowhere'", "signal.0.model = .* is no directory"),
        ("kind = 'beauty'\nmodel = '{m}/clip'", "unknown kind of signal 'beauty'"),
        ("kind = 'similarity'\nmodel = '{m}/clip'\nlabel = 'x'", "signal.0.label: unknown key"),
    ],
)
def test_bad_models(tmp_path: Path, models: Path, signals: str, told: str) -> None:
    source(tmp_path)
    head = "[[signal]]\nname = 'one'\ndevice = 'cpu'\n"
    path = recipe(tmp_path, head + signals.replace("{m}", str(models)), "where = ['one > 0']")
    with pytest.raises(RecipeError, match=told):
        built(path)


def test_weights_that_are_not_there_are_never_made_up(tmp_path: Path, models: Path) -> None:
    """A tower without its head, and a file that is cut off."""
    whole = transformers.ViTForImageClassification.from_pretrained(models / "safety")
    write_classifier(tmp_path / "headless", "safe", "unsafe", "odd")
    whole.vit.save_pretrained(tmp_path / "tower")
    weights = (tmp_path / "tower" / "model.safetensors").read_bytes()
    (tmp_path / "headless" / "model.safetensors").write_bytes(weights)
    with pytest.raises(RecipeError, match="2 weights of ViTForImageClassification are not in"):
        Classifier("signal.0", str(tmp_path / "headless"), "cpu", 3, "unsafe")
    (tmp_path / "headless" / "model.safetensors").write_bytes(weights[:200])
    with pytest.raises(RecipeError, match=r"signal\.0: .*headless"):
        Classifier("signal.0", str(tmp_path / "headless"), "cpu", 3, "unsafe")


def test_unknown_names_are_refused_with_all_there_are(tmp_path: Path, models: Path) -> None:
    source(tmp_path)
    signals = signal("taste", "classification", models / "taste")
    with pytest.raises(RecipeError, match=r"select.where: .*'tast'; there are source,.*, taste"):
        load_recipe(recipe(tmp_path, signals, "where = ['tast > 0']"))
    with pytest.raises(RecipeError, match="another signal named 'blank'"):
        load_recipe(recipe(tmp_path, signal("blank", "similarity", models / "clip"), ""))


def test_the_better_text_is_kept(tmp_path: Path, models: Path) -> None:
    """CapFilt: both are scored, both are kept in the record."""
    source(tmp_path)
    signals = signal("likeness", "similarity", models / "clip")
    with served() as server:
        server.answer = lambda *_: "white stone"
        more = "when = 'always'\nkeep = 'better'\nscore = 'likeness'"
        path = recipe(tmp_path, signals, "", passed(server, more))
        built(path)
        count = len(server.bodies)
        engine = Recorder(Here())
        assert not built(path, engine).new
        assert (len(server.bodies), engine.asked["encode"]) == (count, 0)
        other = passed(server, more.replace("'likeness'", "'other'"))
        with pytest.raises(RecipeError, match=r"caption\.0\.score: no .* is named 'other'"):
            load_recipe(recipe(tmp_path, signals, "", other))
    model = Similarity("signal.0", str(models / "clip"), "cpu", 8)
    rows = captions(tmp_path)
    assert len(rows) == 7
    for n in range(5):
        row = rows[f"p{n}"]
        better = row["score"] > row["original_score"]
        assert row["decision"] == ("caption" if better else "original")
        shown = picture(n)
        old, new = model.scores([shown, shown], [row["original"], row["caption"]])
        assert (row["original_score"], row["score"]) == pytest.approx((old, new), abs=0.05)


def test_a_low_similarity_is_captioned_and_judged_again(tmp_path: Path, models: Path) -> None:
    """`when` reads the old text, a clause the new one."""
    source(tmp_path)
    signals = signal("likeness", "similarity", models / "clip")
    built(recipe(tmp_path, signals, "where = ['likeness > -2']"))
    model = Similarity("signal.0", str(models / "clip"), "cpu", 8)
    shown = [picture(n) for n in range(5)]
    old = model.scores(shown, ["the river under the bridge"] * 5)
    new = model.scores(shown, ["white stone"] * 5)
    edge = sorted(old)[2]
    limit = (min(new) + max(new)) / 2
    with served() as server:
        server.answer = lambda *_: "white stone"
        when = f"when = {{ signal = 'likeness', below = {edge!r} }}"
        path = recipe(tmp_path, signals, f"where = ['likeness > {limit!r}']", passed(server, when))
        made = built(path)
    low = {f"p{n}" for n in range(5) if old[n] < edge}
    assert {name for name in captions(tmp_path) if name.startswith("p")} == low
    now = {f"p{n}": new[n] if f"p{n}" in low else old[n] for n in range(5)}
    gone = {name for name, score in now.items() if score <= limit}
    assert {name for name in filtered(tmp_path, made) if name.startswith("p")} == gone
