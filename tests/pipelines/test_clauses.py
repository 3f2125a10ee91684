"""Builds with clauses: what they drop, what the ledger says, what a change makes again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.build import build, call, plan
from pipelines.engine import NoWork
from pipelines.gc import Limits, collect
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from pipelines.summary import of_plan
from pipelines.versions import read_manifest
from schemas.errors import RecipeError
from tests.pipelines.conftest import Here, Recorder
from tests.tiny_source import asked, encoded, film, ledger_rows, picture, write_records
from workers.storage.folder import folder_of

SIDES = (30, 60, 90, 120, 150)


def write(folder: Path, answer: str = "A gradient of two colours.") -> None:
    """Pictures of several sides, one of a single colour, and a text."""
    files = {f"{side}.png": encoded(picture(side, (side, side)), "png") for side in SIDES}
    files["blank.png"] = encoded(picture(0, (80, 80)).point(lambda _: 200), "png")
    records: list[dict[str, Any]] = [
        asked(f"s{side}", f"{side}.png", answer=answer) for side in SIDES
    ]
    records.append(asked("blank", "blank.png", answer=answer))
    records.append({"id": "text", "turns": [{"role": "text", "text": "A page without a picture."}]})
    write_records(folder / "source", files, records)


def recipe(folder: Path, select: str, name: str = "tiny") -> Path:
    path = folder / "recipe.toml"
    source = (
        f"[[sources]]\nname = '{name}'\nkind = 'records'\npath = '{folder}/source/records.jsonl'\n"
    )
    path.write_text(
        f"name = 'tiny'\n{source}[select]\nmax_drop_ratio = 1.0\n{select}\n"
        "[[policy]]\nkind = 'qwen2_vl'\n[pack]\nmax_tokens = 512\nlanes = 2\n"
        f"[output]\npath = '{folder}/out'\n"
    )
    return path


def dropped(folder: Path, select: str, engine: Any = None) -> dict[str, str]:
    """By sample the message, of what the clauses drop."""
    made = build(Workshop(load_recipe(recipe(folder, select)), engine or Here()), call)
    rows = ledger_rows(folder / "out", made.manifest)
    return {
        name.removeprefix("tiny/"): row["message"]
        for name, row in rows.items()
        if row["drop"] == "filtered"
    }


def test_the_first_clause_that_fails_is_told(tmp_path: Path) -> None:
    write(tmp_path)
    found = dropped(tmp_path, 'where = ["min_side >= 61", "not blank", "max_side < 140"]')
    assert found == {
        "s30": "min_side >= 61 (min_side 30)",
        "s60": "min_side >= 61 (min_side 60)",
        "blank": "not blank (blank True)",
        "s150": "max_side < 140 (max_side 150)",
    }


def test_clauses_of_one_source(tmp_path: Path) -> None:
    write(tmp_path)
    found = dropped(tmp_path, 'where = ["min_side >= 61"]\nby_source = { tiny = ["chars >= 30"] }')
    assert found == {"text": "chars >= 30 (chars 25)"}
    with pytest.raises(RecipeError, match="no source is named 'other'"):
        load_recipe(recipe(tmp_path, 'by_source = { other = ["chars >= 30"] }'))


def test_a_threshold_measures_nothing_again(tmp_path: Path) -> None:
    """Another text does not measure pictures again."""
    write(tmp_path)
    engine = Recorder(Here())
    assert len(dropped(tmp_path, 'where = ["min_sharpness >= 0", "chars >= 1"]', engine)) == 0
    assert engine.asked["run_signals"] == 2
    engine.asked.clear()
    assert dropped(tmp_path, 'where = ["min_sharpness >= 1e9", "chars >= 1"]', engine)
    assert engine.asked["run_signals"] == 0
    assert engine.asked["run_survey"] == 0
    engine.asked.clear()
    write(tmp_path, answer="Another answer, in other words.")
    dropped(tmp_path, 'where = ["min_sharpness >= 1e9", "chars >= 1"]', engine)
    assert engine.asked["run_signals"] == 1  # the texts
    engine.asked.clear()
    dropped(tmp_path, 'where = ["min_side >= 61"]', engine)
    assert engine.asked["run_signals"] == 0


def test_a_build_with_nothing_to_do(tmp_path: Path) -> None:
    """Also after what no version needs has been collected."""
    write(tmp_path)
    select = 'where = ["min_sharpness >= 0", "chars >= 26"]'
    dropped(tmp_path, select)
    swept = collect(folder_of(tmp_path / "out"), Limits(time.time() + 3600, keep=1, cache=True))
    assert swept.removals == []
    path = recipe(tmp_path, select)
    assert not build(Workshop(load_recipe(path), NoWork()), call).new
    dropped(tmp_path, 'where = ["chars >= 26"]')
    swept = collect(folder_of(tmp_path / "out"), Limits(time.time() + 3600, keep=1, cache=True))
    gone = [one.path for one in swept.removals if ".cache/signals/" in one.path]
    assert len(gone) == 2  # of pictures: a table and its receipt


def test_the_plan_says_what_each_clause_drops(tmp_path: Path) -> None:
    write(tmp_path)
    path = recipe(tmp_path, 'where = ["min_side >= 100", "not blank", "chars >= 1"]')
    workshop = Workshop(load_recipe(path), Here())
    told = dict(of_plan(workshop, plan(workshop, call)))
    assert told["dropped: filtered"] == "4"
    assert told["clause: min_side >= 100"] == "4 fail it, 3 of them no other"
    assert told["clause: not blank"] == "1 fail it, 0 of them no other"
    assert told["clause: chars >= 1"] == "0 fail it, 0 of them no other"


def test_a_picture_that_does_not_decode_fails_no_clause(tmp_path: Path) -> None:
    """It is found when it is rendered, and told as what it is."""
    from tests.tiny_source import broken_png

    write(tmp_path)
    (tmp_path / "source" / "90.png").write_bytes(broken_png())
    assert dropped(tmp_path, 'where = ["min_sharpness >= 0"]') == {}
    assert read_manifest(folder_of(tmp_path / "out")).ledger.dropped == {"undecodable": 1}


@pytest.mark.parametrize(
    ("select", "told"),
    [
        ('where = ["min_size >= 3"]', "select.where: .*no signal is named 'min_size'"),
        ('where = ["chars > (select 1)"]', "select.where: .*no subquery"),
        ('by_source = { tiny = ["chars >"] }', "select.by_source.tiny: .*syntax error"),
    ],
)
def test_bad_clauses(select: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=told):
        load_recipe(recipe(tmp_path, select))


def test_clauses_over_videos_and_left_markers(tmp_path: Path) -> None:
    """A picture has no motion; another text measures no video again."""

    def write_films(answer: str) -> None:
        files = {"clip.mp4": film(), "p.png": encoded(picture(3), "png")}
        records = [
            asked("film", {"type": "video", "path": "clip.mp4"}, answer=answer),
            asked("picture", "p.png", answer="See <image_2> and <|image_pad|>."),
            {"id": "text", "turns": [{"role": "text", "text": "A page."}]},
        ]
        write_records(tmp_path / "source", files, records)

    write_films("It moves.")
    clauses = "where = ['min_motion < 1', 'max_static < 0.9', 'stray_markers = 0']"
    engine = Recorder(Here())
    found = dropped(tmp_path, clauses, engine)
    assert sorted(found) == ["film", "picture"]
    assert found["film"].startswith("min_motion < 1 (min_motion ")
    assert found["picture"] == "stray_markers = 0 (stray_markers 2)"
    assert engine.asked["run_signals"] == 2
    write_films("It moves on.")
    again = Recorder(Here())
    dropped(tmp_path, clauses, again)
    assert again.asked["run_signals"] == 1
