"""Geometry equals the published code: on the rows kept here, and on all if they are there."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from pipelines.policies import policy_kinds
from schemas.errors import RecipeError
from tests.golden.compare import ADAPTERS, SHARED, compare, main, read_rows
from workers.geometry import geometry
from workers.policies.internvl import InternVL
from workers.policies.protocol import Policy
from workers.policies.qwen2_vl import Qwen2VL

DATA = Path(__file__).parent / "data"
PATHS = {path.name.removesuffix(".jsonl.gz"): path for path in sorted(DATA.rglob("*.jsonl.gz"))}


def test_every_adapter_has_its_file() -> None:
    assert [name for name in ADAPTERS if name not in PATHS] == []


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_every_field_of_every_row(name: str) -> None:
    rows = read_rows(PATHS[name])
    report = compare(rows, ADAPTERS[name])
    assert report.misses == []
    assert report.passed == len(rows) > 0


@pytest.mark.parametrize("name", sorted(PATHS))
def test_the_file_kept_here_is_the_reference_s(name: str) -> None:
    path = SHARED / PATHS[name].relative_to(DATA)
    if not path.exists():
        pytest.skip("the golden files are not beside this checkout")
    assert read_rows(PATHS[name]) == read_rows(path)


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
    assert "qwen2_vl.jsonl.gz: 14600 of 14600 rows" in capsys.readouterr().out
    assert main(tmp_path) == 1
    (tmp_path / "unheard_of.jsonl").write_text("{}\n")
    assert main(tmp_path) == 1
    assert "no adapter knows this file" in capsys.readouterr().out


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


PINNED: dict[str, tuple[int, str]] = {
    "fixed": (2, "5072c112c195775b"),
    "llava15": (1, "792f38b3706c74a9"),
    "llava_hr": (1, "a23ac8341ad2f765"),
    "deepseek_vl": (1, "5c8c06e2495e29c9"),
    "internvl": (1, "50963defc1953e3d"),
    "nvlm_d": (1, "c66bc7e9aa9bb892"),
    "llava_next": (1, "5c9ca4b8343d8ef8"),
    "llava_next_video": (1, "fb6d7408461ab343"),
    "llava_next_interleave": (1, "0b084db3ece7026a"),
    "llava_onevision": (1, "651f13892946e2b2"),
    "oryx": (1, "9a457b0c85a7d9a2"),
    "qwen2_vl": (1, "0e5b482a51c79450"),
    "qwen2_5_vl": (1, "0e5b482a51c79450"),
    "qwen3_vl": (1, "e6f2ccb36d57e13e"),
    "navit": (1, "001787da50994065"),
    "points1_0": (1, "14fe76799e3d1d3e"),
    "points1_5": (1, "ae66bbe8a78e0758"),
    "llava_uhd": (1, "b2744a76ff4f7386"),
    "docowl1_5": (1, "faa894dfb9b9fbfd"),
    "xcomposer_hd": (1, "c44efd404919bd9b"),
    "deepseek_vl2": (1, "a1476d4654965905"),
    "siglip2_naflex": (1, "35fc24b03d412920"),
    "aria": (1, "183db2836dd1e3b0"),
    "aya_vision": (1, "702c89c341547d54"),
    "cohere2_vision": (1, "8f86de7137991cb2"),
    "deepseek_ocr2": (1, "fadda4313a666cf7"),
    "emu3": (1, "cc8afd714719d07c"),
    "ernie4_5_vl": (1, "16aa1869889aab20"),
    "gemma3": (1, "401228f19f5b56e7"),
    "gemma4": (1, "347ca7a8dbc06cda"),
    "glm4v": (1, "b5d4a0e477824c8f"),
    "hunyuan_vl": (1, "1f39efe5260ea3d3"),
    "idefics3": (1, "d9403e0bbe345934"),
    "kimi_k25": (1, "f7946315527e0ea6"),
    "kimi_vl": (1, "ee56efed0cb4b8bd"),
    "lfm2_vl": (1, "8e537cf8bdc1e154"),
    "llama4": (1, "0ca8c394a27c60e5"),
    "minicpmv4_6": (1, "b3e3db38348911d5"),
    "mllama": (1, "60670e782986dd56"),
    "molmo2": (1, "ffbb143df99c4f2e"),
    "nemotron_h_omni": (1, "1d173d77d0c3421f"),
    "ovis2": (1, "6962bf4cc741a9df"),
    "ovis2_5": (1, "41d09f919411bb59"),
    "paddleocr_vl": (1, "c6353c63cb1cf6b1"),
    "perception_lm": (1, "84f43352b14f596c"),
    "phi4_multimodal": (1, "53c44ab0c5fdce89"),
    "pixtral": (1, "bba7ab70500fcd9c"),
    "video_llama_3": (1, "050e3502f7df5f2a"),
}
"""VERSION, and the digest of the answers, of every kind with its defaults."""


@pytest.mark.parametrize("kind", policy_kinds())
def test_another_answer_is_another_version(kind: str) -> None:
    """If this fails, raise the policy's VERSION and pin the new digest: old builds are stale."""
    policy: Policy = policy_kinds()[kind](kind=kind)
    lines: list[dict[str, object]]
    lines = [{"width": 7 + 61 * i, "height": 4001 - 57 * i, "key": i} for i in range(70)]
    lines += [{"width": 16 * i, "height": 320, "images": 3} for i in range(1, 30)]
    video: dict[str, object] = {"width": 640, "height": 360, "fps": 29.97, "video_start": 1.0}
    lines += [{**video, "frames": 3 + 97 * i, "key": i} for i in range(30)]
    records = [{**record, "message": None} for record in geometry(policy, lines)]
    for record in records:
        if not record.get("pieces"):  # which these digests are older than
            record.pop("pieces", None)
    answers = json.dumps(records, sort_keys=True)
    assert (policy.VERSION, sha256(answers.encode()).hexdigest()[:16]) == PINNED[kind]


def test_every_kind_is_pinned() -> None:
    assert sorted(PINNED) == sorted(policy_kinds())
