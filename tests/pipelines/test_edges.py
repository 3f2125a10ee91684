"""Builds at the edges: text alone, one pack, one wide picture, a source that is switched off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpack.index import decode_index, encode_index
from pipelines.build import build, call, plan
from pipelines.engine import NoWork
from pipelines.finding import find_blocks
from pipelines.load_recipe import load_recipe
from pipelines.partitions import Published
from pipelines.recorded import known_faults
from pipelines.steps import Workshop
from pipelines.summary import examples_of_drops
from pipelines.survey import survey_blocks
from pipelines.verify import verify
from schemas.errors import BuildError, RecipeError
from schemas.manifest import FOLDER, Manifest
from tests.pipelines.conftest import Here, Recorder, build_in
from tests.tiny_source import asked, broken_png, encoded, picture, write_recipe, write_records
from workers.payloads import PAYLOADS
from workers.sidefiles import index_path


def ledger(root: Path, manifest: Manifest) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(root / FOLDER / manifest.ledger.name).to_pylist()
    return {row["sample_id"]: row for row in rows}


def test_text_alone_in_one_pack(tmp_path: Path, engine: Recorder) -> None:
    write_records(tmp_path / "source", {}, [asked(f"t{n}") for n in range(3)])
    manifest = build_in(tmp_path, engine).manifest
    [part] = manifest.partitions
    assert (part.packs, part.fillers, len(part.shards)) == (1, 1, 2)
    assert verify(tmp_path / "out").problems == []


def test_a_fault_does_not_depend_on_what_was_built_before(tmp_path: Path, engine: Recorder) -> None:
    files = {"good.png": encoded(picture(1), "png")}
    files |= {"m1.png": broken_png(1), "m2.png": broken_png(2)}
    good = [asked(f"g{n}", "good.png") for n in range(20)]
    grown, fresh = tmp_path / "grown", tmp_path / "fresh"
    write_records(grown / "source", files, [*good, asked("y", "m2.png")])
    build_in(grown, engine)
    for folder in (grown, fresh):
        records = [*good, asked("y", "m2.png"), asked("x", "m1.png", "m2.png")]
        write_records(folder / "source", files, records)
    one, two = build_in(grown, engine).manifest, build_in(fresh, engine).manifest
    assert one.partitions == two.partitions
    assert ledger(grown / "out", one)["tiny/x"] == ledger(fresh / "out", two)["tiny/x"]


def test_a_picture_that_the_codec_cannot_hold_is_dropped(tmp_path: Path, engine: Recorder) -> None:
    files = {
        "wide.png": encoded(picture(1, (20_000, 200)), "png"),
        "small.png": encoded(picture(2), "png"),
    }
    good = [asked(f"s{n}", "small.png") for n in range(9)]
    write_records(tmp_path / "source", files, [*good, asked("w", "wide.png")])
    recipe = tmp_path / "wide.toml"
    records = {"tiny": (tmp_path / "source" / "records.jsonl").resolve()}
    write_recipe(recipe, tmp_path / "out", records, max_tokens=8192)
    text = recipe.read_text()
    recipe.write_text(text.replace("[render]", '[render]\ncodec = "webp"', 1))
    assert 'codec = "webp"' in recipe.read_text()
    manifest = build(Workshop(load_recipe(recipe), engine), call).manifest
    row = ledger(tmp_path / "out", manifest)["tiny/w"]
    assert row["drop"] == "too_many_pixels"
    assert "webp holds 16383" in row["message"]


def test_plan_shows_what_a_build_refuses(tmp_path: Path, engine: Recorder) -> None:
    records = write_records(tmp_path / "source", {}, [asked("t"), asked("lost", "none.png")])
    recipe = write_recipe(tmp_path / "recipe.toml", tmp_path / "out", {"tiny": records.resolve()})
    workshop = Workshop(load_recipe(recipe), engine)
    shown = examples_of_drops(workshop, plan(workshop, call))
    assert [what for what, _ in shown] == ["missing_media: tiny/lost"]


def test_two_sources_of_one_name_are_told_in_one_line(tmp_path: Path) -> None:
    records = write_records(tmp_path / "source", {}, [asked("t")])
    recipe = write_recipe(tmp_path / "recipe.toml", tmp_path / "out", {"tiny": records.resolve()})
    text = recipe.read_text()
    source = text[text.index("[[sources]]") : text.index("[select]")]
    recipe.write_text(text.replace("[select]", f"{source}[select]"))
    with pytest.raises(RecipeError, match="source names must differ"):
        load_recipe(recipe)


def test_verify_sees_an_altered_index(tmp_path: Path, engine: Recorder) -> None:
    write_records(tmp_path / "source", {}, [asked(f"t{n}") for n in range(3)])
    [shard, *_] = build_in(tmp_path, engine).manifest.shards
    path = index_path(tmp_path / "out" / shard.name)
    index = np.array(decode_index(path.read_bytes()))
    index["loss_tokens"] += 1
    path.write_bytes(encode_index(index))
    assert any("loss_tokens" in problem for problem in verify(tmp_path / "out").problems)


def test_of_two_faults_of_a_medium_the_same_counts_in_any_order() -> None:
    rows = [
        {"key": key, "sha256": "s", "part": -1, "offset": 0, "size": 0, "format": "", **fault}
        for key, fault in (
            ("b", {"drop": "too_many_pixels", "message": "wide"}),
            ("a", {"drop": "undecodable", "message": "broken"}),
        )
    ]
    wanted = pa.table({"key": ["a", ""], "xyz_key": ["", "b"]})
    for order in (rows, rows[::-1]):
        index = pa.Table.from_pylist(order, schema=PAYLOADS)
        assert known_faults(index, wanted) == {"s": ("undecodable", "broken")}


def test_records_that_change_under_the_survey_stop_it(tmp_path: Path) -> None:
    path = write_records(tmp_path, {}, [asked("t")])
    recipe = write_recipe(tmp_path / "r.toml", tmp_path / "out", {"s": path})
    workshop = Workshop(load_recipe(recipe), NoWork())
    found = find_blocks(workshop, Published())
    path.write_bytes(path.read_bytes().replace(b'"t"', b'"u"'))
    with pytest.raises(BuildError, match=r"changed while|not those of the plan|build again"):
        survey_blocks(replace(workshop, engine=Here()), found)
