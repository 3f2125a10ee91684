"""Geometry equals the published code: on the rows kept here, and on all if they are there."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from schemas.errors import RecipeError
from tests.golden.compare import ADAPTERS, SHARED, compare, main, read_rows
from workers.geometry import geometry
from workers.policies.fixed import Fixed
from workers.policies.internvl import InternVL
from workers.policies.protocol import Policy
from workers.policies.qwen2_vl import Qwen2VL

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("folder", [DATA, SHARED], ids=["kept", "shared"])
@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_every_field_of_every_row(name: str, folder: Path) -> None:
    path = folder / f"{name}.jsonl.gz"
    if folder == SHARED and not path.exists():
        pytest.skip("the full golden files are not beside this checkout")
    rows = read_rows(path)
    report = compare(rows, ADAPTERS[name])
    assert report.misses == []
    assert report.passed + report.pending == len(rows)
    assert report.passed > 0


def test_a_changed_or_unknown_field_is_a_miss() -> None:
    row = read_rows(DATA / "qwen2_vl.jsonl.gz")[0]
    changed = {**row, "out": {**row["out"], "llm_tokens": 1}}
    unknown = {**row, "out": {**row["out"], "colour": "red"}, "more": 1}
    report = compare([row, changed, unknown], ADAPTERS["qwen2_vl"])
    assert report.passed == 1
    assert len(report.misses) == 3


def test_an_unknown_parameter_is_a_miss_of_its_row_only() -> None:
    row = read_rows(DATA / "internvl.jsonl.gz")[0]
    unknown = {**row, "params": {**row["params"], "colour": "red"}}
    report = compare([row, unknown], ADAPTERS["internvl"])
    assert report.passed == 1
    assert "colour" in report.misses[0]


def test_main_answers_with_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(DATA) == 0
    assert "qwen2_vl: 14600 of 14600 rows" in capsys.readouterr().out
    assert main(tmp_path) == 1


def test_a_line_may_change_settings() -> None:
    lines: list[dict[str, object]] = [
        {"width": 640, "height": 480},
        {"width": 640, "height": 480, "max_pixels": 50176, "preset": "free text"},
        {"width": 640, "height": 480, "factor": 32},
        {"width": 640, "height": 480, "frames": 100, "fps": 25.0, "max_pixels": 100352},
    ]
    records = geometry(Qwen2VL(), lines)
    assert [record["resized_wh"] for record in records] == [
        [644, 476],
        [252, 168],
        [640, 480],
        [364, 252],
    ]


def test_a_clip_and_a_sampling_rate_go_beside_the_files_own_rate() -> None:
    params = {"fps": 1, "video_start": 2.0, "video_end": 6.0}
    line = {"width": 64, "height": 64, "frames": 300, "fps": 30.0, "params": params}
    record = geometry(Qwen2VL(), [line])[0]
    assert record["frame_indices"] == [60, 100, 140, 180]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ({"width": 8}, "height"),
        ({"width": "8", "height": 8}, "width"),
        ({"width": 8, "height": 8, "colour": 1}, "colour"),
        ({"width": 8, "height": 8, "factor": 30, "patch_size": 14}, "factor"),
        ({"width": 8, "height": 8, "max_pixels": "many"}, "max_pixels"),
        ({"width": 8, "height": 8, "max_pixels": 28}, "max_pixels"),
        ({"width": 8, "height": 8, "params": 3}, "params"),
        ({"width": 8, "height": 8, "frames": 9, "fps": 1, "bound": 3}, "bound"),
        ({"width": 8, "height": 8, "frames": 9, "fps": "x"}, "fps"),
    ],
)
def test_a_bad_line_is_named_with_its_key(line: dict[str, object], named: str) -> None:
    with pytest.raises(RecipeError, match=f"line 2: .*{named}"):
        geometry(Qwen2VL(), [{"width": 8, "height": 8}, line])


def test_refusals_are_answers() -> None:
    lines: list[dict[str, object]] = [
        {"width": 0, "height": 8},
        {"width": 10**30, "height": 8},
        {"width": 8, "height": 8, "frames": 9, "fps": float("nan")},
        {"width": 8, "height": 8, "frames": 9, "fps": 1.0, "bound": [20, 30]},
    ]
    records = geometry(InternVL(), lines)
    assert [record["drop"] for record in records] == [
        "bad_size",
        "bad_size",
        "bad_frame_rate",
        "bad_clip",
    ]
    assert all(set(record) == {"drop", "message"} for record in records)


@pytest.mark.parametrize(
    ("policy", "version", "digest"),
    [
        (Qwen2VL(), 1, "64130db58b7b59ca"),
        (InternVL(), 1, "6063aba2e1342d80"),
        (Fixed(), 1, "dfac6b7b17c151de"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_another_answer_is_another_version(policy: Policy, version: int, digest: str) -> None:
    """If this fails, raise the policy's VERSION and pin the new digest: old builds are stale."""
    lines: list[dict[str, object]]
    lines = [{"width": 7 + 61 * i, "height": 4001 - 57 * i} for i in range(70)]
    video: dict[str, object] = {"width": 640, "height": 360, "fps": 29.97, "video_start": 1.0}
    lines += [{**video, "frames": 3 + 97 * i} for i in range(30)]
    records = [{**record, "message": None} for record in geometry(policy, lines)]
    answers = json.dumps(records, sort_keys=True)
    assert (policy.VERSION, sha256(answers.encode()).hexdigest()[:16]) == (version, digest)
