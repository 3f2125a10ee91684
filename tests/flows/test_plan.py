"""`plan` beside the published version: files, partitions, payloads and shards to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import app
from tests.flows.dated import (
    DAYS,
    PARTITIONS,
    SMALLER,
    Inline,
    build_here,
    write_dated_recipe,
    write_day,
    write_days,
)
from tests.tiny_source import broken_png

SHARDS_A_DAY = 2
PICTURES_A_DAY = 6


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.engine.RayEngine", Inline)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Of three days, built."""
    path = write_days(tmp_path)
    build_here(path)
    return path


def costs(recipe: Path, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["plan", str(recipe), "--json", *options])
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)["costs"]
    return found


def states(found: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["state"] for one in found["partitions"]}


def test_before_the_first_build_all_is_new(tmp_path: Path) -> None:
    found = costs(write_days(tmp_path))
    assert found["version"] is None
    assert found["files"]["new"] == [f"daily/date={day}/records.jsonl" for day in DAYS]
    assert set(states(found).values()) == {"new"}
    assert found["done"] == {"index": 0, "survey": 3, "tokenize": 3}
    total = found["total"]
    assert total["payloads"] == len(DAYS) * PICTURES_A_DAY
    assert (total["shards"], total["shards_kept"]) == (len(DAYS) * SHARDS_A_DAY, 0)
    assert total["shard_bytes"] > total["payload_bytes"] > 0


def test_after_a_build_there_is_nothing_to_do(recipe: Path) -> None:
    found = costs(recipe)
    assert (found["version"], states(found)) == (1, dict.fromkeys(PARTITIONS, "untouched"))
    assert found["files"] == {"new": [], "changed": [], "gone": [], "untouched": 3}
    assert found["done"] == {"index": 0, "survey": 0, "tokenize": 0}
    assert found["total"] == {
        "payloads": 0,
        "payload_bytes": 0,
        "shards": 0,
        "shard_bytes": 0,
        "shards_kept": len(DAYS) * SHARDS_A_DAY,
    }


def test_a_new_file_is_one_partition_and_the_build_does_that_much(
    recipe: Path, tmp_path: Path
) -> None:
    write_day(tmp_path, "2026-01-04")
    found = costs(recipe)
    assert found["files"]["new"] == ["daily/date=2026-01-04/records.jsonl"]
    assert found["files"]["untouched"] == 3
    assert states(found) == dict.fromkeys(PARTITIONS, "untouched") | {"date=2026-01-04": "new"}
    assert found["done"] == {"index": 0, "survey": 1, "tokenize": 1}
    total = found["total"]
    assert (total["payloads"], total["shards"]) == (PICTURES_A_DAY, SHARDS_A_DAY)
    assert total["shards_kept"] == len(DAYS) * SHARDS_A_DAY
    engine = Inline()
    build_here(recipe, engine)
    assert engine.made == {"run_render": 1, "run_assemble": SHARDS_A_DAY}


def test_changed_and_deleted_files_are_found_by_content(recipe: Path, tmp_path: Path) -> None:
    file = tmp_path / "source" / PARTITIONS[1] / "records.jsonl"
    file.write_text(file.read_text().replace("A gradient.", "A slope of colours."))
    (tmp_path / "source" / PARTITIONS[2] / "records.jsonl").unlink()
    found = costs(recipe)
    assert found["files"] == {
        "new": [],
        "changed": [f"daily/{PARTITIONS[1]}/records.jsonl"],
        "gone": [f"daily/{PARTITIONS[2]}/records.jsonl"],
        "untouched": 1,
    }
    assert states(found) == {PARTITIONS[0]: "untouched", PARTITIONS[1]: "changed"}
    assert found["partitions_gone"] == [PARTITIONS[2]]
    total = found["total"]
    assert (total["payloads"], total["shards"], total["shards_kept"]) == (0, 2, 2)


def test_a_touched_file_of_the_same_content_is_untouched(recipe: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "source").rglob("*.png"):
        path.touch()
    found = costs(recipe)
    assert found["done"]["survey"] == 3
    assert (found["files"]["untouched"], found["total"]["shards"]) == (3, 0)


def test_a_changed_picture_changes_the_file_that_names_it(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "source" / PARTITIONS[0]
    (folder / "0.png").write_bytes((folder / "1.png").read_bytes())
    found = costs(recipe)
    assert found["files"]["changed"] == [f"daily/{PARTITIONS[0]}/records.jsonl"]
    assert states(found)[PARTITIONS[0]] == "changed"
    assert found["total"]["payloads"] == 0  # that of 1.png is there already


def test_pictures_known_not_to_decode_change_nothing(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "source" / PARTITIONS[0] / "3.png").write_bytes(broken_png())
    assert costs(recipe)["total"]["payloads"] == 1
    build_here(recipe)
    found = costs(recipe)
    assert (found["version"], set(states(found).values())) == (2, {"untouched"})
    assert found["total"]["payloads"] == 0


def test_another_policy_costs_all_or_the_partition_that_is_named(
    recipe: Path, tmp_path: Path
) -> None:
    write_dated_recipe(tmp_path, policy=SMALLER)
    found = costs(recipe)
    assert set(states(found).values()) == {"changed"}
    assert found["done"] == {"index": 0, "survey": 0, "tokenize": 0}
    one = costs(recipe, "--partition", PARTITIONS[1])
    assert states(one) == {PARTITIONS[1]: "changed"}
    assert (one["files"]["gone"], one["files"]["untouched"]) == ([], 1)
    assert one["partitions_gone"] == []
    assert one["total"]["payloads"] == found["total"]["payloads"] // len(DAYS)


def test_a_take_down_costs_the_shards_that_hold_the_sample(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("daily/2026-01-02-3\n")
    write_dated_recipe(tmp_path, select=f'take_down = "{tmp_path}/list.txt"')
    found = costs(recipe)
    assert states(found) == dict.fromkeys(PARTITIONS, "untouched") | {PARTITIONS[1]: "changed"}
    total = found["total"]
    assert (total["payloads"], total["shards"], total["shards_kept"]) == (0, 1, 5)


def test_a_lost_shard_is_to_write_though_nothing_changed(recipe: Path, tmp_path: Path) -> None:
    sorted((tmp_path / "out").glob("*.tar"))[0].unlink()
    found = costs(recipe)
    assert (set(states(found).values()), found["total"]["shards"]) == ({"untouched"}, 1)


def test_people_see_names_first_and_then_what_it_costs(recipe: Path, tmp_path: Path) -> None:
    write_day(tmp_path, "2026-01-04")
    result = CliRunner().invoke(app, ["plan", str(recipe)])
    said = [
        "source files by name: 1 new, 0 gone, 3 that the published version has",
        "survey: 0 of 1",
        "survey: 1 of 1",
        "tokenize: 0 of 1",
        "tokenize: 1 of 1",
    ]
    assert result.stderr.splitlines()[: len(said)] == said
    rows = dict(line.split("  ", 1) for line in result.stdout.splitlines())
    told = {what.strip(): value.strip() for what, value in rows.items()}
    assert told["beside"] == "version 1"
    assert told["source files"] == "1 new, 0 changed, 0 gone, 3 as they were"
    assert told["new file"] == "daily/date=2026-01-04/records.jsonl"
    assert told["done by this plan"] == "index 0, survey 1, tokenize 1"
    assert told["partitions compared"] == "1 new, 0 changed, 0 gone, 3 untouched"
    assert told["partition date=2026-01-04"].startswith("new, shards to write 2, ")
    assert told["payloads to render"].startswith("6, ")
    assert told["shards to write"].startswith("2, ")
    assert told["shards kept"] == "6"
