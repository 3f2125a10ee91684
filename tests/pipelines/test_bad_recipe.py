"""What is wrong with a recipe or its files is one line on standard error, and exit status 1."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
from pipelines.build import build, call
from pipelines.engine import NoWork
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from schemas.errors import RecipeError
from tests.tiny_source import asked, write_recipe, write_records


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    records = write_records(tmp_path / "source", {}, [asked("a", "a.png")])
    return write_recipe(tmp_path / "recipe.toml", tmp_path / "out", {"tiny": records})


def complaint(command: str, *arguments: str | Path) -> str:
    """The only line that a failing command prints."""
    result = CliRunner().invoke(app, [command, *map(str, arguments)])
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("error: ")


QWEN_KEYS = "kind, variant, video_variant, patch_size, merge_size, temporal_patch_size"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "[pack]",
            "[pack]\nlane = 2",
            r"pack.lane: unknown key \(allowed: mode, bundle, model, max",
        ),
        ("[pack]", "[cap]\n[pack]", r"cap: unknown key \(allowed: name, seed, sources, text, "),
        ("name = 'tiny'", "name = 'tiny'\nsede = 1", r"sede: unknown key \(allowed: name, seed, "),
        ("kind = 'rec", "weigth = 1\nkind = 'rec", r"sources.0.weigth: unknown key \(allowed: "),
        ('"qwen2_vl"', '"qwen"', r"kind: unknown policy 'qwen' \(allowed: .*internvl.*qwen2_vl"),
        ('kind = "qwen2_vl"', "max_pixels = 9", r"policy.0.kind: missing; names the policy"),
        ('"qwen2_vl"', '"qwen2_vl"\npixels = 1', rf"pixels: unknown key \(allowed: {QWEN_KEYS}"),
        ('"qwen2_vl"', '"qwen2_vl"\nvariant = "v"', r"variant: .*'qwen_vl_utils'.*'hf_4.45.0'"),
        ('"qwen2_vl"', '"qwen2_vl"\nmax_pixels = "x"', r"max_pixels: .*integer.*\(got 'x'\)"),
        ('"qwen2_vl"', '"qwen2_vl"\nmatch = {sorce = "a"}', r"policy.0.match.sorce: unknown key"),
        ('"qwen2_vl"', '"qwen2_vl"\nmatch = {source = "a"}', r"0.match.source: no source is .*'a'"),
        ('"qwen2_vl"', '"qwen2_vl"\nmatch = {signal = "hue"}', r"policy.0.match.signal: .*'width'"),
        ('"qwen2_vl"', '"qwen2_vl"\nmatch = {above = 3}', r"policy.0.match: signal needs above or"),
        ("[pack]", '[[policy]]\nkind = "fixed"\n[pack]', r"one model takes one kind of position"),
        ("kind = 'records'", "kind = 'csv'", r"0.kind: unknown kind of source 'csv' .*'records'"),
        ("kind = 'records'", "", r"sources.0.kind: missing; names the kind of source"),
        (
            "'pixels'",
            "'pixel'",
            r"render.payload: .*'pixels' or 'features' \(got 'pixel'\)",
        ),
        ("lanes = 2", "lanes = 3", r"pack.lanes: must be a power of two \(got 3\)"),
        ("max_tokens = 512", "max_tokens = 2", r"pack.max_tokens: .*greater than or equal to 16"),
        (
            "max_tokens = 512",
            "max_tokens = 16777216\nmodel = {language = {layers = 1023, hidden_size = 65535}, "
            "vision = {layers = 1, hidden_size = 1}}",
            "so large that the time of a pack",
        ),
        ("name = 'tiny'", "name = 'a b'", r"name: .*match.*\(got 'a b'\)"),
        ("name = 'tiny'", "name = tiny", r"not TOML: .*line 1"),
        ("[output]", "[out]", r"output: Field required"),
    ],
)
def test_a_wrong_key_is_named(recipe: Path, old: str, new: str, told: str) -> None:
    text = recipe.read_text()
    assert text.count(old) >= 1
    recipe.write_text(text.replace(old, new, 1))
    line = complaint("build", recipe)
    assert line.startswith(f"{recipe}: ")
    assert re.search(told, line), line


@pytest.mark.parametrize("command", ["build", "plan"])
def test_a_missing_file_is_named(recipe: Path, command: str) -> None:
    records = recipe.parent / "source" / "records.jsonl"
    assert complaint(command, recipe.parent / "no.toml").endswith(
        "no.toml: No such file or directory\n"
    )
    records.unlink()
    line = complaint(command, recipe)
    assert line == f"sources.tiny.path: {records}: no such file\n"
    records.parent.rmdir()
    line = complaint(command, recipe)
    assert line == f"sources.tiny.root: {records.parent} is not a folder\n"


@pytest.mark.parametrize("command", ["build", "plan"])
@pytest.mark.parametrize("text", ["", "\n  \n\n"])
def test_an_empty_source_is_named(recipe: Path, command: str, text: str) -> None:
    records = recipe.parent / "source" / "records.jsonl"
    records.write_text(text)
    assert complaint(command, recipe) == f"sources.tiny.path: {records} holds no record\n"


@pytest.mark.parametrize("command", ["build", "plan"])
def test_a_folder_is_no_recipe_and_no_records_file(recipe: Path, command: str) -> None:
    assert complaint(command, recipe.parent).endswith(": Is a directory\n")
    records = recipe.parent / "source" / "records.jsonl"
    records.rename(records.with_suffix(".txt"))
    recipe.write_text(recipe.read_text().replace("records.jsonl", ""))
    assert complaint(command, recipe) == f"sources.tiny.path: {records.parent}/: no such file\n"


def test_a_missing_tokenizer_is_named_before_any_work(recipe: Path) -> None:
    recipe.write_text(f"{recipe.read_text()}[text]\ntokenizer = '/no/such/folder'\n")
    with pytest.raises(RecipeError, match=r"/no/such/folder"):
        build(Workshop(load_recipe(recipe), NoWork()), call)


def test_a_folder_without_a_data_set_is_named(tmp_path: Path) -> None:
    for command in (["verify", tmp_path], ["explain", tmp_path, "tiny/a"]):
        assert complaint(*map(str, command)) == f"{tmp_path} holds no published data set\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--policy", "qwen"], "policy.0.kind: unknown policy 'qwen' (allowed: "),
        (["--policy", "fixed", "--set", "size=1"], "size: unknown key (allowed: kind, variant, "),
        (["--policy", "fixed", "--set", "size"], "--set size: expected key=value"),
    ],
)
def test_geometry_names_a_wrong_setting(arguments: list[str], told: str) -> None:
    assert told in complaint("geometry", *arguments)
