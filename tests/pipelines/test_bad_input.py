"""What real data has too: each is a reason in the ledger or a note, and the build goes on."""

from __future__ import annotations

import io
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchpack import Pack
from pipelines.build import Built
from pipelines.engine import RayEngine
from pipelines.explain import explain
from pipelines.verify import verify
from tests.bad_media import CASES, FILES, NOT_JSON
from tests.pipelines.conftest import build_in, packs_of
from tests.tiny_source import Record, ledger_rows, picture, write_records


@pytest.fixture(scope="module")
def made(ray_engine: RayEngine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Built]:
    """All of them in one build, and one line that is not JSON."""
    folder = tmp_path_factory.mktemp("bad")
    records = [{**case.record, "id": name} for name, case in CASES.items()]
    path = write_records(folder / "source", FILES, [*records, records[-1]])
    (folder / "source" / "sub").mkdir()
    path.write_text(f"\n{path.read_text()}{NOT_JSON}\n")
    return folder / "out", build_in(folder, ray_engine)


@pytest.fixture(scope="module")
def rows(made: tuple[Path, Built]) -> dict[str, Record]:
    return ledger_rows(made[0], made[1].manifest)


@pytest.fixture(scope="module")
def packs(made: tuple[Path, Built]) -> list[Pack]:
    return list(packs_of(*made))


def test_nothing_is_lost(made: tuple[Path, Built]) -> None:
    ledger = made[1].manifest.ledger
    drops = Counter(case.drop for case in CASES.values() if case.drop)
    assert ledger.dropped == drops + Counter(["duplicate_id", "bad_record"])
    assert ledger.seen == len(CASES) + 2
    assert ledger.packed == ledger.seen - sum(ledger.dropped.values())
    assert verify(made[0]).problems == []


@pytest.mark.parametrize("name", CASES)
def test_each_has_its_reason_or_note(rows: dict[str, Record], name: str) -> None:
    row, case = rows[f"tiny/{name}"], CASES[name]
    assert (row["drop"] or "") == case.drop
    assert re.search(case.message, row["message"] or ""), row["message"]
    assert row["origin"].startswith(case.origin)
    assert tuple(row["notes"]) == case.notes
    assert bool(row["pack"]) == (not case.drop)


def test_a_line_that_is_not_json_has_its_number_and_range(rows: dict[str, Record]) -> None:
    number = len(CASES) + 3
    row = rows[f"tiny/records-{number}"]
    assert row["drop"] == "bad_record"
    assert row["message"].startswith(f"line {number}: not JSON: ")
    assert re.fullmatch(rf"records.jsonl#\d+\+{len(NOT_JSON) + 1}", row["origin"])


def test_a_picture_that_does_not_decode_is_named(rows: dict[str, Record]) -> None:
    message = rows["tiny/decodes-not"]["message"]
    assert "pictures.tar member 'broken.png' bytes " in message


def test_a_duplicate_is_no_copy(made: tuple[Path, Built]) -> None:
    assert explain(made[0], "tiny/miscounted", None)["copies"] == 1


def find(packs: list[Pack], sample: str) -> tuple[Pack, int]:
    for pack in packs:
        if sample in pack.header.sample_id:
            return pack, pack.header.item_sample.index(pack.header.sample_id.index(sample))
    raise AssertionError(f"{sample} is in no pack")


def test_an_orientation_is_applied_once_and_recorded(packs: list[Pack]) -> None:
    pack, item = find(packs, "tiny/turned")
    assert pack.arrays.orientation[item] == 6
    assert pack.header.item_source_wh[item] == [90, 60]
    stored = Image.open(io.BytesIO(pack.payloads_of(item)[0].data.tobytes())).convert("RGB")
    assert list(stored.size) == pack.header.item_resized_wh[item] == [84, 56]
    # picture 4 grows red to the right; turned by code 6 (90 degrees clockwise) it grows downward
    red = np.asarray(stored)[:, :, 0].astype(int)
    assert red[-1].mean() - red[0].mean() > 200
    assert abs(red[:, -1].mean() - red[:, 0].mean()) < 20


def test_transparency_follows_the_variant_and_is_recorded(packs: list[Pack]) -> None:
    pack, item = find(packs, "tiny/faded")
    assert pack.arrays.alpha[item] == 1  # dropped, as qwen_vl_utils does
    pack, item = find(packs, "tiny/good")
    assert pack.arrays.alpha[item] == 0


def test_the_first_frame_of_an_animation_is_packed(packs: list[Pack]) -> None:
    pack, item = find(packs, "tiny/animated-png")
    stored = Image.open(io.BytesIO(pack.payloads_of(item)[0].data.tobytes())).convert("RGB")
    wanted = picture(1).resize(stored.size, Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(stored).astype(int) - np.asarray(wanted)).mean() < 3


def test_frames_of_an_uneven_video_are_of_its_ten(packs: list[Pack]) -> None:
    for name, frames in (("uneven", 10), ("miscounted", 12)):
        pack, item = find(packs, f"tiny/{name}")
        picked = pack.arrays.frame_indices[pack.arrays.frame_item == item]
        assert picked.max() < frames
        assert len(pack.payloads_of(item)) == len(picked)
