from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import BuildError
from schemas.reasons import Reason
from workers.sources.block import Block
from workers.sources.json_text import MAX_RECORD_BYTES, RecordText
from workers.sources.records import RecordsOptions, parse_line, plan, read
from workers.sources.sample import DepthRef, Sample
from workers.storage.folder import folder_of

EYE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def parsed(record: Any, number: int = 7) -> Sample:
    text = record if isinstance(record, bytes) else json.dumps(record).encode()
    return parse_line(RecordText(number, 0, len(text), text), "day/r.jsonl")


def planned(path: Path, rows: int) -> list[Block]:
    return plan(folder_of(path.parent), path.name, rows)


def samples(path: Path, *blocks: Block) -> list[tuple[Sample, str]]:
    """The samples of these blocks with their origins."""
    folder = folder_of(path.parent)
    return [found for block in blocks for found in read(folder, block, RecordsOptions())]


def of_parts(*parts: Any, role: str = "user") -> Sample:
    return parsed({"id": "a", "turns": [{"role": role, "parts": list(parts)}]})


def of_text(text: str, **media: Any) -> Sample:
    return parsed({"id": "a", "turns": [{"role": "user", "text": text, **media}]})


def view(**changes: Any) -> dict[str, Any]:
    return {"path": "v.jpg", "intrinsics": [500, 500, 320, 240], "pose": EYE, **changes}


def shape(sample: Sample) -> list[str | int]:
    return [part.text or part.item for turn in sample.turns for part in turn.parts]


def test_parts_keep_their_order_and_media_are_numbered_in_it() -> None:
    sample = parsed(
        {
            "id": "000017",
            "turns": [
                {
                    "role": "user",
                    "parts": [
                        {"type": "image", "path": "./a//b.jpg", "boxes": [{"xyxy": [1, 2, 3, 4]}]},
                        {"type": "text", "text": "What?"},
                        {"type": "video", "tar": "t.tar", "member": "./m.mp4", "start": 1.5},
                    ],
                },
                {"role": "assistant", "parts": [{"type": "text", "text": "This."}]},
            ],
        }
    )
    assert sample.drop is None
    assert sample.sample_id == "000017"
    assert [turn.role for turn in sample.turns] == ["user", "assistant"]
    assert shape(sample) == [0, "What?", 1, "This."]
    image, video = sample.media
    assert (image.kind, image.path, image.member) == ("image", "a/b.jpg", "")
    assert image.boxes[0].xyxy == (1.0, 2.0, 3.0, 4.0)
    assert (video.path, video.member, video.clip_start) == ("t.tar", "m.mp4", 1.5)
    assert video.clip_end != video.clip_end  # NaN: none named


def test_views_become_one_medium_each_with_a_camera() -> None:
    sample = of_parts(
        {"type": "views", "convention": "opengl", "views": [view(), view(path="w.jpg")]}
    )
    assert shape(sample) == [0, 1]
    assert [ref.kind for ref in sample.media] == ["view", "view"]
    camera = sample.media[1].camera
    assert camera is not None
    assert camera.convention == "opengl"
    assert camera.intrinsics == (500.0, 500.0, 320.0, 240.0)
    assert camera.pose[:6] == (1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def test_markers_take_media_in_order_and_only_the_marker_leaves_the_text() -> None:
    sample = of_text(
        "<image>\nOne <video> two<image>", images=["a.png", {"path": "b.png"}], videos=["c.mp4"]
    )
    assert shape(sample) == [0, "\nOne ", 1, " two", 2]
    assert [ref.path for ref in sample.media] == ["a.png", "c.mp4", "b.png"]


def test_an_id_is_optional_and_may_be_a_number() -> None:
    turns = [{"role": "text", "text": "x"}]
    assert parsed({"turns": turns}).sample_id == "day/r-7"
    assert parsed({"id": 17, "turns": turns}).sample_id == "17"
    assert (
        parsed({"id": "a", "turns": turns, "licence": "MIT"}).drop is None
    )  # other keys may stand


def test_boxes_and_points_stand_in_the_text_and_name_their_item() -> None:
    sample = of_parts(
        {"type": "point", "item": 1, "xy": [3, 4.5], "label": "handle"},
        {"type": "image", "path": "a.jpg"},
        {"type": "text", "text": "or"},
        {"type": "box", "item": 0, "xyxy": [1, 2, 3, 4]},
        {"type": "video", "path": "b.mp4"},
    )
    assert sample.drop is None
    point, image, text, box, video = sample.turns[0].parts
    assert (point.text, point.item, point.xy) == ("handle", 1, (3.0, 4.5))
    assert (box.text, box.item, box.xy) == ("", 0, (1.0, 2.0, 3.0, 4.0))
    assert (image.xy, text.xy, video.item, video.xy) == ((), (), 1, ())
    assert len(sample.media) == 2


IMAGE = {"type": "image", "path": "a.jpg"}
BAD_PLACES: list[tuple[dict[str, Any], Reason, str]] = [
    ({"type": "box", "item": 1, "xyxy": [0, 0, 1, 1]}, Reason.BAD_BOX, ".item: 1 is no number"),
    ({"type": "point", "item": -1, "xy": [0, 0]}, Reason.BAD_BOX, ".item: -1 is no number"),
    ({"type": "point", "item": 10**400, "xy": [0, 0]}, Reason.BAD_BOX, ".item: 1000000000000"),
    ({"type": "box", "item": True, "xyxy": [0, 0, 1, 1]}, Reason.BAD_BOX, ".item: expected the"),
    ({"type": "box", "item": 0.0, "xyxy": [0, 0, 1, 1]}, Reason.BAD_BOX, ".item: expected the"),
    ({"type": "box", "xyxy": [0, 0, 1, 1]}, Reason.BAD_BOX, ".item: expected the number"),
    ({"type": "box", "item": 0}, Reason.BAD_BOX, ".xyxy: expected 4 numbers"),
    ({"type": "box", "item": 0, "xyxy": [3, 0, 1, 1]}, Reason.BAD_BOX, ".xyxy: left, top"),
    ({"type": "box", "item": 0, "xyxy": [0, 3, 1, 1]}, Reason.BAD_BOX, ".xyxy: left, top"),
    ({"type": "box", "item": 0, "xyxy": [0, 0, 1, None]}, Reason.BAD_BOX, ".xyxy[3]: expected a"),
    ({"type": "box", "item": 0, "xyxy": [0, 0, 1, 10**400]}, Reason.BAD_BOX, ".xyxy[3]: "),
    ({"type": "point", "item": 0, "xy": [0, 0, 1]}, Reason.BAD_BOX, ".xy: expected 2 numbers"),
    ({"type": "point", "item": 0, "xyxy": [0, 0]}, Reason.BAD_RECORD, "unknown key 'xyxy'"),
    ({"type": "box", "item": 0, "xyxy": [0, 0, 1, 1], "label": 3}, Reason.BAD_RECORD, ".label: "),
]


@pytest.mark.parametrize(("part", "reason", "words"), BAD_PLACES)
def test_a_bad_box_or_point_has_a_reason_and_names_its_field(
    part: dict[str, Any], reason: Reason, words: str
) -> None:
    sample = of_parts(IMAGE, part)
    assert sample.drop is reason
    assert sample.message is not None
    assert sample.message.startswith("line 7: turns[0].parts[1]")
    assert words in sample.message


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999"])
def test_a_place_that_is_no_number_is_refused(number: bytes) -> None:
    part = b'{"type": "point", "item": 0, "xy": [0, %s]}' % number
    record = b'{"turns": [{"role": "user", "parts": [{"type": "image", "path": "a"}, %s]}]}' % part
    assert parsed(record).drop in (Reason.BAD_BOX, Reason.BAD_RECORD)


BAD_PARTS: list[tuple[dict[str, Any], Reason, str]] = [
    ({"type": "image"}, Reason.BAD_RECORD, "turns[0].parts[0].path: "),
    ({"type": "image", "path": "a", "tar": "b"}, Reason.BAD_RECORD, ".path: "),
    ({"type": "image", "tar": "b"}, Reason.BAD_RECORD, ".path: "),
    ({"type": "image", "tar": "b", "member": ""}, Reason.BAD_RECORD, ".member: "),
    ({"type": "image", "path": 3}, Reason.BAD_RECORD, ".path: expected a text, found a number"),
    ({"type": "image", "path": ""}, Reason.BAD_RECORD, ".path: is empty"),
    ({"type": "image", "path": "."}, Reason.BAD_RECORD, ".path: names no file"),
    ({"type": "image", "path": "/etc/passwd"}, Reason.PATH_OUTSIDE_ROOT, ".path: "),
    ({"type": "image", "path": "a/../../b"}, Reason.PATH_OUTSIDE_ROOT, ".path: "),
    ({"type": "image", "path": "a\0b"}, Reason.PATH_OUTSIDE_ROOT, ".path: "),
    ({"type": "image", "path": "C:/x.jpg"}, Reason.PATH_OUTSIDE_ROOT, ".path: "),
    ({"type": "image", "path": "a\\b.jpg"}, Reason.PATH_OUTSIDE_ROOT, ".path: "),
    ({"type": "image", "path": "http://x/a.jpg"}, Reason.PATH_OUTSIDE_ROOT, ".path: "),
    ({"type": "image", "tar": "../a.tar", "member": "m"}, Reason.PATH_OUTSIDE_ROOT, ".tar: "),
    ({"type": "image", "path": "a", "box": []}, Reason.BAD_RECORD, "unknown key 'box'"),
    ({"type": "image", "path": "a", "boxes": {}}, Reason.BAD_RECORD, ".boxes: expected a list"),
    ({"type": "image", "path": "a", "boxes": [{}]}, Reason.BAD_BOX, ".boxes[0].xyxy: "),
    ({"type": "image", "path": "a", "boxes": [{"xyxy": [3, 0, 1, 1]}]}, Reason.BAD_BOX, ".xyxy: "),
    (
        {"type": "image", "path": "a", "boxes": [{"xyxy": [0, 0, 1, "1"]}]},
        Reason.BAD_BOX,
        "xyxy[3]",
    ),
    (
        {"type": "image", "path": "a", "boxes": [{"xyxy": [0, 0, 1, 10**400]}]},
        Reason.BAD_BOX,
        "[3]",
    ),
    ({"type": "video", "path": "a", "start": True}, Reason.BAD_RECORD, ".start: expected a number"),
    ({"type": "video", "path": "a", "start": 3, "end": 2}, Reason.BAD_CLIP, "3.0 to 2.0"),
    ({"type": "video", "path": "a", "start": -1}, Reason.BAD_CLIP, ".start: "),
    ({"type": "video", "path": "a", "end": 0}, Reason.BAD_CLIP, ".start: "),
    (
        {"type": "audio", "path": "a"},
        Reason.BAD_RECORD,
        ".type: expected text, image, video, views, box or",
    ),
    ({"type": ["text"]}, Reason.BAD_RECORD, ".type: "),
    ({"type": "text"}, Reason.BAD_RECORD, ".text: expected a text, found nothing"),
    ({"type": "text", "text": "see <image>"}, Reason.MARKER_WITHOUT_MEDIA, ".text: <image> marks"),
    ({"type": "text", "text": "<video>"}, Reason.MARKER_WITHOUT_MEDIA, ".text: <video> marks"),
]


@pytest.mark.parametrize(("part", "reason", "words"), BAD_PARTS)
def test_a_bad_part_has_a_reason_and_names_its_field(
    part: dict[str, Any], reason: Reason, words: str
) -> None:
    sample = of_parts(part)
    assert sample.drop is reason
    assert sample.message is not None
    assert words in sample.message
    assert sample.message.startswith("line 7: turns[0].parts[0]")
    assert (sample.sample_id, sample.turns, sample.media) == ("a", (), ())


BAD_CAMERAS: list[dict[str, Any]] = [
    {"intrinsics": [500, 500, 320]},
    {"intrinsics": [0, 500, 320, 240]},
    {"intrinsics": None},
    {"pose": EYE[:3]},
    {"pose": [[2, 0, 0, 0], *EYE[1:]]},
    {"pose": [[-1, 0, 0, 0], *EYE[1:]]},
    {"pose": [*EYE[:3], [0, 0, 0, 2]]},
    {"pose": [[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]},
    {"pose": [["1", 0, 0, 0], *EYE[1:]]},
    {"pose": [[1, 0, 0, 1e300], *EYE[1:]]},
    {"pose": None},
    {"intrinsics": [1e-300, 500, 320, 240]},
    {"intrinsics": [500, 500, 320, 1e300]},
]


@pytest.mark.parametrize("changes", BAD_CAMERAS)
def test_a_wrong_camera_is_named(changes: dict[str, Any]) -> None:
    views = {"type": "views", "convention": "opencv", "views": [view(), view(**changes)]}
    sample = of_parts(views)
    assert sample.drop is Reason.BAD_CAMERA
    assert f"parts[0].views[1].{next(iter(changes))}" in (sample.message or "")


def test_a_view_may_have_a_depth_map() -> None:
    depths: list[dict[str, Any]] = [
        {"path": "./d.png"},
        {"tar": "d.tar", "member": "7", "steps_a_metre": 4000},
    ]
    views = [view(), *(view(depth=depth) for depth in depths)]
    none, file, member = of_parts({"type": "views", "convention": "opencv", "views": views}).media
    assert none.depth is None
    where = "turns[0].parts[0].views"
    assert file.depth == DepthRef("d.png", "", f"{where}[1].depth", 1000.0)
    assert member.depth == DepthRef("d.tar", "7", f"{where}[2].depth", 4000.0)


BAD_DEPTHS: list[tuple[dict[str, Any], Reason, str]] = [
    (view(depth={}), Reason.BAD_RECORD, "views[0].depth.path: "),
    (view(depth="d.png"), Reason.BAD_RECORD, "views[0].depth: expected an object"),
    (view(depth=None), Reason.BAD_RECORD, "views[0].depth: expected an object, found nothing"),
    (view(depth={"path": "../d.png"}), Reason.PATH_OUTSIDE_ROOT, "views[0].depth.path: "),
    (view(depth={"path": "d", "scale": 1}), Reason.BAD_RECORD, "unknown key 'scale'"),
    *(
        (view(depth={"path": "d", "steps_a_metre": steps}), Reason.BAD_CAMERA, ".steps_a_metre: ")
        for steps in (0, -1000, 1e-320, 1e300, "1000", None, True)
    ),
    ({"path": "v.jpg", "depth": {"path": "d.png"}}, Reason.BAD_CAMERA, "views[0].intrinsics: "),
]


@pytest.mark.parametrize(("shown", "reason", "words"), BAD_DEPTHS)
def test_a_wrong_depth_map_is_named(shown: dict[str, Any], reason: Reason, words: str) -> None:
    sample = of_parts({"type": "views", "convention": "opencv", "views": [shown]})
    assert sample.drop is reason
    assert words in (sample.message or "")


@pytest.mark.parametrize("kind", ["image", "video"])
def test_a_depth_map_needs_a_camera(kind: str) -> None:
    medium = {"path": "a", "depth": {"path": "d.png"}}
    for sample in (
        of_parts({"type": kind, **medium}),
        of_text(f"<{kind}>", **{f"{kind}s": [medium]}),
    ):
        assert sample.drop is Reason.BAD_CAMERA
        assert ".depth: a depth map needs a camera" in (sample.message or "")


def test_a_view_without_a_convention_is_a_wrong_camera() -> None:
    assert of_parts({"type": "views", "views": [view()]}).drop is Reason.BAD_CAMERA
    empty = of_parts({"type": "views", "convention": "opencv", "views": []})
    assert empty.drop is Reason.BAD_RECORD


def test_markers_and_media_must_match() -> None:
    assert of_text("<image> <image>", images=["a"]).drop is Reason.MARKER_WITHOUT_MEDIA
    assert of_text("<image>", images=["a", "b"]).drop is Reason.MEDIA_WITHOUT_MARKER
    assert of_text("<video>").drop is Reason.MARKER_WITHOUT_MEDIA
    assert of_text("none", videos=["a"]).drop is Reason.MEDIA_WITHOUT_MARKER
    assert of_text("<image>", images=["../a"]).drop is Reason.PATH_OUTSIDE_ROOT
    message = of_text("<image> <image>", images=["a"]).message
    assert message == "line 7: turns[0].text: 2 <image> in the text, 1 in images"


@pytest.mark.parametrize(
    "turns", [[], [{"role": "user", "text": " \n"}], [{"role": "user", "parts": []}]]
)
def test_a_sample_without_content_is_empty(turns: list[Any]) -> None:
    assert parsed({"id": "a", "turns": turns}).drop is Reason.EMPTY_SAMPLE


BAD_LINES: list[tuple[bytes, str]] = [
    (b"{", "not JSON"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"turns":' * 100_000, "nested too deeply"),
    (b'{"turns": NaN}', "NaN is not JSON"),
    (b'{"turns": -Infinity}', "-Infinity is not JSON"),
    (b'{"id": ' + b"9" * 5000 + b"}", "not JSON"),
    (b"\xff\xfe{}", "not UTF-8"),
    (b'{"id": "\\ud800"}', "not UTF-8"),
    (b"[]", "expected an object, found a list"),
    (b"null", "expected an object, found nothing"),
    (b"{}", "turns: expected a list, found nothing"),
    (b'{"turns": [3]}', "turns[0]: expected an object, found a number"),
    (b'{"turns": [{"role": "gpt", "text": ""}]}', "turns[0].role: expected one of"),
    (b'{"turns": [{"role": [], "text": ""}]}', "turns[0].role: expected one of"),
    (b'{"turns": [{"role": "user"}]}', "turns[0].text: expected a text"),
    (b'{"turns": [{"role": "user", "parts": 1}]}', "turns[0].parts: expected a list"),
    (b'{"turns": [{"role": "user", "parts": [], "text": ""}]}', "turns[0]: unknown key 'text'"),
    (b'{"id": 1.5, "turns": []}', "id: expected a text"),
    (b'{"id": true, "turns": []}', "id: expected a text"),
    (b'{"id": "", "turns": []}', "id: expected 1 to 512 bytes"),
    (b'{"id": "a\\nb", "turns": []}', "id: expected 1 to 512 bytes"),
    (b'{"id": "' + b"x" * 600 + b'", "turns": []}', "id: expected 1 to 512 bytes"),
]


@pytest.mark.parametrize(("text", "words"), BAD_LINES)
def test_a_line_that_is_no_record_is_a_bad_record_with_its_number(text: bytes, words: str) -> None:
    sample = parsed(text)
    assert sample.drop is Reason.BAD_RECORD
    assert sample.sample_id == "day/r-7"
    assert (sample.message or "").startswith("line 7: ")
    assert words in (sample.message or "")


def test_blocks_hold_whole_lines_and_their_digests(tmp_path: Path) -> None:
    lines = [b"one\n", b"\n", b"two\r\n", b"  \n", b"three\n", b"four"]
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"".join(lines))
    data = path.read_bytes()
    blocks = planned(path, 2)
    assert [(block.path, block.start, block.end) for block in blocks] == [
        ("r.jsonl", 0, 10),
        ("r.jsonl", 10, len(data)),
    ]
    assert [(block.first_row, block.rows) for block in blocks] == [(0, 2), (3, 2)]
    for block in blocks:
        assert block.sha256 == hashlib.sha256(data[block.start : block.end]).hexdigest()
    assert [(sample.sample_id, origin) for sample, origin in samples(path, *blocks)] == [
        ("r-1", "r.jsonl#0+4"),
        ("r-3", "r.jsonl#5+5"),
        ("r-5", "r.jsonl#13+6"),
        ("r-6", "r.jsonl#19+4"),
    ]


def test_good_and_bad_lines_are_samples_in_order(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"id": "a", "turns": [{"role": "text", "text": "x"}]}\n\n{}\n[]')
    found = [sample for sample, _ in samples(path, *planned(path, 2))]
    assert [(sample.sample_id, sample.message) for sample in found] == [
        ("a", None),
        ("r-3", "line 3: turns: expected a list, found nothing"),
        ("r-4", "line 4: the record: expected an object, found a list"),
    ]
    assert found[0] == parsed({"id": "a", "turns": [{"role": "text", "text": "x"}]})


def test_appended_rows_leave_the_full_blocks_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"a\nb\nc\n")
    before = planned(path, 2)
    path.write_bytes(b"a\nb\nc\nd\ne\n")
    after = planned(path, 2)
    assert after[0] == before[0]
    assert [block.rows for block in after] == [2, 2, 1]


def test_a_file_without_rows_has_no_blocks(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    for data in (b"", b"\n \n\t"):
        path.write_bytes(data)
        assert planned(path, 2) == []


def test_a_huge_line_is_not_held_and_drops_its_sample(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    size = 3 * MAX_RECORD_BYTES + 1
    path.write_bytes(b"a\n" + b" " * (2 << 20) + b"x" * (size - 1 - (2 << 20)) + b"\nb\n")
    (block,) = planned(path, 10)
    assert block.rows == 3
    tracemalloc.start()
    (_, first), (huge, origin), (_, last) = samples(path, block)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size
    assert (first, last) == ("r.jsonl#0+2", f"r.jsonl#{2 + size}+2")
    assert (huge.drop, origin) == (Reason.BAD_RECORD, f"r.jsonl#2+{size}")
    assert huge.message == f"line 2: {size} bytes, over the limit of {MAX_RECORD_BYTES}"


def test_a_file_that_changed_stops_the_build(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"a\nbc\n")
    (block,) = planned(path, 2)
    path.write_bytes(b"a\nb\n")
    with pytest.raises(BuildError, match=r"r\.jsonl ends at byte 4, its plan says 5: build again"):
        samples(path, block)
    path.write_bytes(b"a\nbd\n")
    with pytest.raises(BuildError, match=r"r\.jsonl changed while the build read it; build again"):
        samples(path, block)


def test_the_example_of_the_documentation_prints_what_it_says(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "records.md").read_text()
    code, expected = re.findall(r"```(?:python|text)\n(.*?)```", page, re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout, run.stderr) == (expected, "")


def test_the_example_lines_of_the_documentation_are_records() -> None:
    page = (Path(__file__).parents[2] / "docs" / "records.md").read_text()
    line, grounded = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    answer = parsed(json.loads(grounded)).turns[1]
    assert [part.xy for part in answer.parts] == [(), (146.0, 137.0, 615.0, 415.0), ()]
    sample = parsed(json.loads(line))
    assert (sample.sample_id, sample.drop) == ("000017", None)
    assert shape(sample) == [0, 1, 2, "What do they show?", "The same door, twice, and it opens."]
