"""Whole builds on Ray: what is published, and what a further build does again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import workers.item_costs
import workers.size
from pipelines.build import Built
from pipelines.engine import NoWork
from pipelines.verify import verify
from schemas.errors import BuildError
from tests.pipelines.conftest import STAGES, Recorder, build_in, packs_of, written
from tests.tiny_source import digests, ledger_rows
from workers.policies.qwen2_vl import Qwen2VL

SAMPLES = 24
DROPPED = {"missing_media": 1, "truncated": 1, "undecodable": 1}


def test_a_build_is_published_whole(first: tuple[Path, Built]) -> None:
    out, built = first[0] / "out", first[1]
    report = verify(out)
    assert report.problems == []
    assert report.checked["samples"] == SAMPLES - 3
    ledger = built.manifest.ledger
    assert (built.new, built.manifest.version, ledger.seen) == (True, 1, SAMPLES)
    assert ledger.dropped == DROPPED
    rows = ledger_rows(out, built.manifest)
    assert len(rows) == SAMPLES
    where = {
        (sample_id, pack.header.key)
        for pack in packs_of(out, built)
        for sample_id in pack.header.sample_id
    }
    assert where == {(name, row["pack"]) for name, row in rows.items() if not row["drop"]}


def test_a_picture_that_does_not_decode_is_a_reason(first: tuple[Path, Built]) -> None:
    row = ledger_rows(first[0] / "out", first[1].manifest)["tiny/broken"]
    assert (row["drop"], row["origin"]) == ("undecodable", "images/broken.png")
    assert "png: broken data stream" in row["message"]


def test_a_second_build_does_nothing(copy: Path, first: tuple[Path, Built]) -> None:
    again, made = written(copy, lambda: build_in(copy, NoWork()))
    assert (again.new, again.manifest, made) == (False, first[1].manifest, Counter())


@pytest.mark.parametrize(
    ("lost", "asked", "made"),
    [
        (".cache/surveyed/*.arrow", {"run_survey": 1}, {"surveyed.arrow": 1}),
        (".cache/surveyed/*.json", {"run_survey": 1}, {"surveyed.arrow": 1}),
        (".cache/tokenized/*.arrow", {"run_tokenize": 1}, {"tokenized.arrow": 1}),
        (".cache/sized/*.arrow", {}, {"sized.arrow": 1}),
        (
            ".cache/rendered/*.bin",
            {"run_render": 1},
            {"rendered.bin": 1, "rendered.arrow": 1},
        ),
        ("*.tar", {"run_assemble": 1}, {"out.tar": 1}),
        (".index/*.npy", {"run_assemble": 1}, {"out.tar": 1}),
    ],
)
def test_what_is_lost_is_made_again_and_nothing_else(
    copy: Path,
    first: tuple[Path, Built],
    engine: Recorder,
    lost: str,
    asked: dict[str, int],
    made: dict[str, int],
) -> None:
    sorted((copy / "out").glob(lost))[-1].unlink()
    again, wrote = written(copy, lambda: build_in(copy, engine))
    assert again.manifest == first[1].manifest
    assert (engine.asked, wrote) == (asked, made)
    assert verify(copy / "out").problems == []


@pytest.mark.parametrize(
    ("stage", "made"),
    [
        ("survey", {"surveyed.arrow": 4}),
        ("tokenize_text", {"tokenized.arrow": 4}),
        ("select", {"selected.arrow": 2}),  # once before and once after the fault is known
        ("size", {"sized.arrow": 2}),
        ("pack", {"packed.arrow": 2}),
        ("assemble", {"out.tar": 2}),
        (
            "payloads",
            {"addressed.arrow": 2, "rendered.arrow": 4, "rendered.bin": 4, "out.tar": 2},
        ),
    ],
)
def test_a_raised_version_redoes_its_stage(
    copy: Path,
    first: tuple[Path, Built],
    engine: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    made: dict[str, int],
) -> None:
    assert stage in STAGES
    monkeypatch.setattr(f"workers.{stage}.VERSION", 1001)
    again, wrote = written(copy, lambda: build_in(copy, engine))
    assert wrote == made
    assert again.new == ("out.tar" in made)
    assert again.new or digests(again.manifest) == digests(first[1].manifest)
    assert verify(copy / "out").problems == []


def test_what_follows_a_changed_table_is_made_again(
    copy: Path, engine: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.size, "VERSION", 1001)
    monkeypatch.setitem(workers.item_costs.BYTES_PER_KILOPIXEL, "jpeg", 301)
    _, wrote = written(copy, lambda: build_in(copy, engine))
    assert engine.asked == {"run_assemble": 2}
    made = {"sized.arrow": 2, "packed.arrow": 2, "addressed.arrow": 2, "out.tar": 2}
    assert wrote == made


def test_a_raised_version_of_the_policy_redoes_sizes_and_shards(
    copy: Path, engine: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Qwen2VL, "VERSION", 1001)
    _, wrote = written(copy, lambda: build_in(copy, engine))
    assert wrote == {"sized.arrow": 2, "out.tar": 2}


def test_too_many_drops_stop_a_build(copy: Path) -> None:
    with pytest.raises(BuildError) as error:
        build_in(copy, NoWork(), max_drop_ratio=0.1)
    message = str(error.value)
    assert message.startswith("partition 0: 3 of 24 samples would be dropped (")
    assert "select.max_drop_ratio = 0.1" in message
    assert "\n" not in message
