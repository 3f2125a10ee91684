"""`plan --policies`: what each policy would make of the same data, as builds with it make it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import app
from pipelines.build import build, call
from pipelines.engine import RayEngine
from pipelines.load_recipe import load_recipe
from pipelines.policy_plans import PolicyPlan, plan_policies
from pipelines.steps import Workshop
from schemas.manifest import Manifest
from tests.flows.dated import Inline
from tests.of_corpus import CORPUS, NEEDED, own_ray, write_corpus
from tests.pipelines.conftest import Here, Recorder
from tests.tiny_source import asked, encoded, picture, write_recipe, write_records, write_source

POLICIES = ("qwen2_vl?max_pixels=100352", "internvl?max_num=4", "llava_onevision")


def totals(manifest: Manifest) -> tuple[int, ...]:
    parts = manifest.partitions
    return (
        manifest.ledger.seen,
        manifest.ledger.packed,
        sum(part.tokens for part in parts),
        sum(part.packs for part in parts),
        sum(part.fillers for part in parts),
    )


def planned(one: PolicyPlan) -> tuple[int, ...]:
    return one.samples, one.packed, one.tokens, one.packs, one.fillers


def recipe_of(folder: Path, policy: str = 'kind = "qwen2_vl"', out: str = "out") -> Path:
    records = {"tiny": folder / "source" / "records.jsonl"}
    path = folder / f"{out}.toml"
    return write_recipe(path, folder / out, records, policy=policy, max_tokens=2048)


def as_toml(policy: str) -> str:
    kind, _, settings = policy.partition("?")
    return "\n".join([f'kind = "{kind}"', *filter(None, settings.split("&"))])


def plans(path: Path, engine: Any, *policies: str) -> list[PolicyPlan]:
    recipes = {policy: load_recipe(path, policy) for policy in policies}
    return list(plan_policies(Workshop(load_recipe(path), engine), call, recipes))


def test_totals_are_those_of_builds(tmp_path: Path) -> None:
    write_source(tmp_path / "source")
    found = plans(recipe_of(tmp_path), Here(), *POLICIES)
    for number, policy in enumerate(POLICIES):
        path = recipe_of(tmp_path, as_toml(policy), f"build-{number}")
        made = build(Workshop(load_recipe(path), Here()), call)
        assert planned(found[number]) == totals(made.manifest)
        assert found[number].dropped == made.manifest.ledger.dropped


def test_the_figures_of_a_known_picture(tmp_path: Path) -> None:
    """A quarter of the pixels of one, an enlarged one, and one that is too long."""
    files = {
        "large.png": encoded(picture(1, (448, 448)), "png"),
        "small.png": encoded(picture(2, (10, 10)), "png"),
        "long.png": encoded(picture(3, (56, 56)), "png"),
    }
    records = [asked(name, f"{name}.png", answer="So.") for name in ("large", "small")]
    records.append(asked("long", "long.png", answer="word " * 3000))
    write_records(tmp_path / "source", files, records)
    [one] = plans(recipe_of(tmp_path), Here(), "qwen2_vl?min_pixels=3136&max_pixels=50176")
    assert (one.samples, one.packed, one.dropped) == (3, 2, {"over_long": 1})
    assert one.over_long == pytest.approx(1 / 3)
    assert one.upscaled == 0.5
    assert one.pixels_kept == pytest.approx((224 * 224 + 100) / (448 * 448 + 100))
    assert one.tokens == sum(one.tokens_of_a_sample[name] for name in ("p5", "p99"))
    assert one.tokens_of_a_sample["p50"] == one.tokens_of_a_sample["p5"]
    layers, hidden = 32, 4096
    lengths = [one.tokens_of_a_sample[name] for name in ("p5", "p99")]
    work = sum(layers * (24 * hidden**2 * n + 4 * hidden * n * n) for n in lengths) / 1e15
    assert one.llm_petaflop == pytest.approx(work)
    assert one.vit_petaflop is None


def test_texts_are_tokenized_once(tmp_path: Path) -> None:
    """The families write no text otherwise where nothing names a place in a picture."""
    write_source(tmp_path / "source")
    engine = Recorder(Here())
    plans(recipe_of(tmp_path), engine, *POLICIES)
    assert engine.asked["run_survey"] == engine.asked["run_tokenize"] == 1
    again = Recorder(Here())
    plans(recipe_of(tmp_path), again, *POLICIES)
    assert not again.asked


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.engine.RayEngine", Inline)
    write_source(tmp_path / "source")
    path = str(recipe_of(tmp_path))
    command = ["plan", path, "--policies", "qwen2_vl, internvl?max_num=4"]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0, told.output
    lines = [line.split() for line in told.stdout.splitlines()]
    assert [line[0] for line in lines] == ["policy", "qwen2_vl", "internvl?max_num=4"]
    found = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["policies"]
    assert [one["policy"] for one in found] == ["qwen2_vl", "internvl?max_num=4"]
    assert f"{found[0]['tokens']:,}" in lines[1]


@pytest.mark.parametrize(
    ("policies", "told"),
    [
        ("qwen2_vl,nope", "unknown policy 'nope'"),
        ("qwen2_vl?max_pixel=3", "policy.0.max_pixel: unknown key"),
        ("qwen2_vl?max_pixels", "policy qwen2_vl: max_pixels: expected key=value"),
        (" , ", "--policies: expected kinds"),
    ],
)
def test_what_is_no_policy(tmp_path: Path, policies: str, told: str) -> None:
    write_source(tmp_path / "source")
    command = ["plan", str(recipe_of(tmp_path)), "--policies", policies]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 1
    assert told in found.output.replace("\n", "")


@pytest.fixture(scope="module")
def ray() -> Iterator[RayEngine]:
    with own_ray() as started:
        yield started


@pytest.mark.slow
@NEEDED
@pytest.mark.timeout(1200)
def test_totals_of_the_corpus(tmp_path: Path, ray: RayEngine) -> None:
    """Every kind of medium, boxes among them, with three policies."""
    records = write_corpus(tmp_path) / "records.jsonl"

    def recipe(policy: str, out: str) -> Path:
        path = tmp_path / f"{out}.toml"
        path.write_text(
            f"name = 'corpus'\n[[sources]]\nname = 'corpus'\nkind = 'records'\npath = '{records}'\n"
            f"root = '{CORPUS}'\n[select]\nmax_drop_ratio = 0.5\n[[policy]]\n{policy}\n"
            f"[pack]\nmax_tokens = 16384\n[output]\npath = '{tmp_path}/{out}'\n"
        )
        return path

    found = plans(recipe('kind = "qwen2_vl"', "plan"), ray, *POLICIES)
    for number, policy in enumerate(POLICIES):
        path = recipe(as_toml(policy), f"build-{number}")
        made = build(Workshop(load_recipe(path), ray), call)
        assert planned(found[number]) == totals(made.manifest)
