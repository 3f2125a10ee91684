"""Benchmark lists: made from folders and Parquet files, and what builds drop by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from flows.cli import app
from pipelines.build import Built, build, call
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from schemas.errors import RecipeError
from tests.pipelines.conftest import Here, Recorder
from tests.pipelines.test_duplicates import recipe, scene
from tests.tiny_source import asked, encoded, ledger_rows, write_records
from workers.benchmark_list import read_benchmark

QUESTION = (
    "Which of the four bridges over the river in the lower half of the map was built before 1900?"
)
SHORT = "How many chairs are there?"


def benchmark(folder: Path, out: Path, *options: str) -> Any:
    done = CliRunner().invoke(app, ["benchmark", str(folder), "--out", str(out), *options])
    assert done.exit_code == 0, done.output
    return done.output


def files_of_a_benchmark(folder: Path) -> None:
    folder.mkdir()
    (folder / "one.png").write_bytes(encoded(scene(1, (400, 300)), "png"))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (folder / "blank.png").write_bytes(encoded(scene(1).point(lambda _: 9), "png"))
    questions = [{"q": QUESTION, "choices": ["A", "B"]}, {"q": SHORT}]
    (folder / "q.jsonl").write_text("".join(json.dumps(one) + "\n" for one in questions))


def write_source(folder: Path) -> None:
    """A smaller copy of the benchmark's picture, its question in an answer, and what is clean."""
    copy = encoded(scene(1, (200, 150)), "jpeg", quality=70)
    files = {"copy.jpg": copy, "other.png": encoded(scene(2), "png")}
    files |= {f"s{n}.png": encoded(scene(10 + n), "png") for n in range(3)}
    records = [
        asked("copy", "date=1/copy.jpg"),
        asked("said", "date=1/s0.png", answer=f"Well: {QUESTION.upper()} I do not know."),
        asked("short", "date=1/s1.png", answer="so how many CHAIRS are there, then"),
        asked(
            "clean", "date=1/other.png", answer="Which of the four bridges over the river is it?"
        ),
        asked("clean-too", "date=1/s2.png"),
    ]
    write_records(folder / "source" / "date=1", files, records)


def built(folder: Path, select: str, engine: Any = None) -> Built:
    return build(Workshop(load_recipe(recipe(folder, select)), engine or Here()), call)


def contaminated(folder: Path, made: Built) -> dict[str, str]:
    rows = ledger_rows(folder / "out", made.manifest)
    return {
        name.removeprefix("tiny/"): row["message"]
        for name, row in rows.items()
        if row["drop"] == "contaminated"
    }


def test_what_is_on_a_list_is_dropped(tmp_path: Path) -> None:
    files_of_a_benchmark(tmp_path / "bench")
    told = benchmark(tmp_path / "bench", tmp_path / "maps.parquet")
    assert "passed over: blank" in told
    write_source(tmp_path)
    found = contaminated(tmp_path, built(tmp_path, f"benchmarks = ['{tmp_path}/maps.parquet']"))
    assert sorted(found) == ["copy", "said", "short"]
    assert found["said"] == "13 words in a row are those of maps"
    assert found["short"] == "5 words in a row are those of maps"
    assert "of 64 bits from one of maps" in found["copy"]
    manifest = json.loads(next((tmp_path / "out" / ".patchpack").glob("manifest-*")).read_text())
    assert str(tmp_path) not in json.dumps(manifest)


def test_a_list_of_parquet(tmp_path: Path) -> None:
    """As Hugging Face stores pictures, and as bytes."""
    data = encoded(scene(1, (400, 300)), "png")
    table = pa.table(
        {
            "image": [{"bytes": data, "path": "a.png"}, None],
            "question": [QUESTION, "too short"],
            "raw": [encoded(scene(2), "png"), b"no picture"],
        }
    )
    pq.write_table(table, tmp_path / "bench.parquet")
    told = json.loads(
        benchmark(tmp_path / "bench.parquet", tmp_path / "l.parquet", "--name", "own", "--json")
    )
    assert (told["pictures"], told["texts"]) == (2, 1)
    assert told["skipped"] == {"too_few_words": 1, "not_media": 1}
    listed = read_benchmark(str(tmp_path / "l.parquet"))
    assert (listed.name, len(listed.pictures), list(listed.runs)) == ("own", 2, [13])
    write_source(tmp_path)
    found = contaminated(tmp_path, built(tmp_path, f"benchmarks = ['{tmp_path}/l.parquet']"))
    assert sorted(found) == ["clean", "copy", "said"]


def test_a_list_is_the_same_each_time_it_is_made(tmp_path: Path) -> None:
    files_of_a_benchmark(tmp_path / "bench")
    for name in ("a", "b"):
        benchmark(tmp_path / "bench", tmp_path / f"{name}.parquet", "--name", "maps")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_new_list_is_all_that_runs(tmp_path: Path) -> None:
    files_of_a_benchmark(tmp_path / "bench")
    benchmark(tmp_path / "bench", tmp_path / "one.parquet")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "t.txt").write_text("nothing of this is in the data set at all")
    benchmark(tmp_path / "more", tmp_path / "two.parquet")
    write_source(tmp_path)
    first = built(tmp_path, f"benchmarks = ['{tmp_path}/one.parquet']")
    engine = Recorder(Here())
    lists = f"benchmarks = ['{tmp_path}/one.parquet', '{tmp_path}/two.parquet']"
    second = built(tmp_path, lists, engine)
    assert engine.asked == {"run_decontaminate": 1}
    assert contaminated(tmp_path, second) == contaminated(tmp_path, first)
    assert second.manifest.partitions[0].shards == first.manifest.partitions[0].shards
    again = Recorder(Here())
    built(tmp_path, f"{lists}\nwhere = ['min_side > 1']", again)
    assert again.asked == {}


def test_a_new_source_is_all_that_runs(tmp_path: Path) -> None:
    """Its block is surveyed, measured and held against the list; the first source's is not."""
    files_of_a_benchmark(tmp_path / "bench")
    benchmark(tmp_path / "bench", tmp_path / "one.parquet")
    write_source(tmp_path)
    select = f"benchmarks = ['{tmp_path}/one.parquet']\ndedup = {{ near_bits = 4 }}"
    first = built(tmp_path, select)
    more = tmp_path / "more"
    new = {"new.png": encoded(scene(30), "png"), "again.png": encoded(scene(2), "png")}
    write_records(more, new, [asked("new", "new.png"), asked("again", "again.png")])
    path = recipe(tmp_path, select)
    source = f"[[sources]]\nname = 'more'\nkind = 'records'\npath = '{more}/records.jsonl'\n"
    path.write_text(path.read_text().replace("[select]", f"{source}[select]"))
    engine = Recorder(Here())
    second = build(Workshop(load_recipe(path), engine), call)
    stages = ("run_survey", "run_tokenize", "run_signals", "run_decontaminate", "run_render")
    assert {stage: engine.asked[stage] for stage in stages} == dict.fromkeys(stages, 1)
    assert second.manifest.partitions[0].shards == first.manifest.partitions[0].shards
    rows = ledger_rows(tmp_path / "out", second.manifest)
    assert rows["more/again"]["drop"] == "near_duplicate"


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "No such file"), (b"PAR1 no", "no benchmark list"), (b"", "no benchmark list")],
)
def test_a_bad_list(tmp_path: Path, content: bytes | None, told: str) -> None:
    write_source(tmp_path)
    if content is not None:
        (tmp_path / "l.parquet").write_bytes(content)
    with pytest.raises(RecipeError, match=rf"select.benchmarks: .*l.parquet: {told}"):
        built(tmp_path, f"benchmarks = ['{tmp_path}/l.parquet']")


def test_a_list_of_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    out = str(tmp_path / "l.parquet")
    done = CliRunner().invoke(app, ["benchmark", str(tmp_path / "empty"), "--out", out])
    assert done.exit_code == 1
    assert "no picture and no text" in done.output
