"""Duplicates in builds: exact and near ones, in one partition and in those after it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.build import build, call
from pipelines.engine import NoWork
from pipelines.gc import Limits, collect
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from tests.pipelines.conftest import Here, Recorder
from tests.tiny_source import asked, encoded, ledger_rows, write_records
from workers.near_duplicates import NONE, near_duplicates
from workers.storage.folder import folder_of


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def write(folder: Path, day: str, pictures: dict[str, bytes], answers: dict[str, str]) -> None:
    """A partition: a sample for each picture."""
    place = folder / "source" / f"date={day}"
    records = [
        asked(f"{day}-{name}", f"date={day}/{name}", answer=answers.get(name, "An answer."))
        for name in pictures
    ]
    write_records(place, pictures, records)


def recipe(folder: Path, select: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(
        "name = 'tiny'\n[[sources]]\nname = 'tiny'\nkind = 'records'\n"
        f"path = '{folder}/source/*/records.jsonl'\n"
        "partition = 'date=(?P<date>\\d+)'\n"
        f"[select]\nmax_drop_ratio = 1.0\n{select}\n"
        "[[policy]]\nkind = 'qwen2_vl'\n[pack]\nmax_tokens = 512\nlanes = 2\n"
        f"[output]\npath = '{folder}/out'\n"
    )
    return path


def dropped(
    folder: Path, select: str, engine: Any = None, only: Any = ()
) -> dict[str, tuple[str, str]]:
    made = build(Workshop(load_recipe(recipe(folder, select)), engine or Here()), call, only)
    rows = ledger_rows(folder / "out", made.manifest)
    return {
        name.removeprefix("tiny/"): (row["drop"], row["message"])
        for name, row in rows.items()
        if row["drop"]
    }


def two_days(folder: Path) -> None:
    first, second = encoded(scene(1), "png"), encoded(scene(2), "png")
    copy = encoded(scene(1).resize((120, 90)), "jpeg", quality=60)
    blank = encoded(Image.new("RGB", (90, 90), "white"), "png")
    one = {"a.png": first, "b.png": second, "c.png": first, "d.jpg": copy, "w.png": blank}
    write(folder, "1", one, {"c.png": "Another answer."})
    two = {
        "e.png": second,
        "f.png": encoded(scene(3), "png"),
        "x.png": encoded(Image.new("RGB", (91, 90), "white"), "png"),
    }
    write(folder, "2", two, {})


def test_exact_duplicates(tmp_path: Path) -> None:
    two_days(tmp_path)
    assert dropped(tmp_path, "") == {}
    of_media = dropped(tmp_path, "dedup = { exact = 'media' }")
    assert of_media == {
        "1-c.png": ("duplicate", "the same as tiny/1-a.png"),
        "2-e.png": ("duplicate", "the same as a sample of an earlier partition"),
    }
    of_samples = dropped(tmp_path, "dedup = { exact = 'sample' }")
    assert list(of_samples) == ["2-e.png"]


def test_near_duplicates(tmp_path: Path) -> None:
    """The smaller copy is found; what is blank looks like nothing."""
    two_days(tmp_path)
    found = dropped(tmp_path, "dedup = { near_bits = 6 }")
    assert {name: reason for name, (reason, _) in found.items()} == dict.fromkeys(
        ("1-c.png", "1-d.jpg", "2-e.png"), "near_duplicate"
    )
    assert found["1-c.png"][1] == "a picture of tiny/1-a.png differs in 0 of 64 bits"
    assert "of an earlier partition" in found["2-e.png"][1]


def test_a_partition_is_held_against_earlier_ones_only(tmp_path: Path) -> None:
    """A later day changes no day before it, and a backfill of one day knows the others."""
    two_days(tmp_path)
    select = "dedup = { exact = 'media', near_bits = 6 }"
    first = dropped(tmp_path, select)
    write(tmp_path, "3", {"g.png": encoded(scene(3), "png"), "h.png": encoded(scene(9), "png")}, {})
    engine = Recorder(Here())
    again = dropped(tmp_path, select, engine)
    assert {**first, "3-g.png": again["3-g.png"]} == again
    assert engine.asked["run_signals"] == 1
    assert engine.asked["run_render"] == 1
    assert engine.asked["run_assemble"] == 2  # of the third day
    assert dropped(tmp_path, select, only=["date=2"]) == again


def test_gc_keeps_what_later_partitions_may_not_repeat(tmp_path: Path) -> None:
    """And no more: after another limit the tables of the first are gone."""
    two_days(tmp_path)
    dropped(tmp_path, "dedup = { near_bits = 6 }")
    dropped(tmp_path, "dedup = { near_bits = 4 }")
    known = tmp_path / "out" / ".cache" / "known"
    assert len(list(known.glob("*.arrow"))) == 4
    limits = Limits(keep=1, cache=True, before_s=time.time() + 3600)
    collect(folder_of(str(tmp_path / "out")), limits)
    assert len(list(known.glob("*.arrow"))) == 2
    made = build(Workshop(load_recipe(tmp_path / "recipe.toml"), NoWork()), call)
    assert not made.new


def test_a_filtered_sample_does_not_shadow_another(tmp_path: Path) -> None:
    """What a clause drops is no earlier sample."""
    picture = encoded(scene(1), "png")
    write(tmp_path, "1", {"a.png": picture, "b.png": picture}, {"a.png": "No."})
    found = dropped(tmp_path, "where = ['answer_chars >= 5']\ndedup = { exact = 'media' }")
    assert {name: reason for name, (reason, _) in found.items()} == {"1-a.png": "filtered"}


@pytest.mark.parametrize("bits", [0, 3, 4, 8])
def test_near_duplicates_against_brute_force(bits: int) -> None:
    """In order, each against those that stayed."""
    draw = np.random.default_rng(bits)
    hashes = draw.integers(0, 2**64, 1500, dtype=np.uint64)
    for place in range(500, 1500, 2):  # copies with some bits turned
        turned = draw.choice(64, draw.integers(0, bits + 3), replace=False)
        mask = np.bitwise_or.reduce(np.uint64(1) << turned.astype(np.uint64), initial=np.uint64(0))
        hashes[place] = hashes[draw.integers(0, place)] ^ mask
    known, rest = hashes[:200], hashes[200:]
    near, differ = near_duplicates(rest, np.arange(len(rest) + 1), known, bits)
    stayed = list(known)
    places = dict.fromkeys(range(200))
    for row, word in enumerate(rest):
        distances = np.bitwise_count(np.array(stayed, np.uint64) ^ word)
        assert (near[row] != NONE) == bool((distances <= bits).any())
        if near[row] == NONE:
            stayed.append(word)
            places[200 + row] = None
        else:
            assert int(near[row]) in places
            assert np.bitwise_count(hashes[near[row]] ^ word) == differ[row] <= bits


def test_all_pictures_of_a_sample_have_to_be_near() -> None:
    hashes = np.array([1, 2**40, 1, 2**50 + 2**51 + 2**52, 1, 2**40, 1], np.uint64)
    starts = np.array([0, 2, 4, 6, 6, 7])
    near, _ = near_duplicates(hashes, starts, np.zeros(0, np.uint64), 1)
    assert (near != NONE).tolist() == [False, False, True, False, True]
