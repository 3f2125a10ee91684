"""`examples.corpus_records`: a handmade manifest, and the real one where it is there."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.corpus_cameras import read_cameras
from examples.corpus_records import corpus_records
from workers.sources.json_text import RecordText
from workers.sources.records import parse_line
from workers.sources.sample import Sample

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
EYE = np.eye(4).tolist()


def made(folder: Path, *samples: dict[str, Any]) -> list[dict[str, Any]]:
    empty = dict.fromkeys(("text", "conversations", "annotations", "text_info"))
    lines = [json.dumps(empty | {"id": str(i)} | sample) for i, sample in enumerate(samples)]
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    records = list(corpus_records(folder))
    assert [parsed(record).drop for record in records] == [None] * len(samples)
    return records


def parsed(record: dict[str, Any]) -> Sample:
    text = json.dumps(record).encode()
    return parse_line(RecordText(1, 0, len(text), text), "records.jsonl")


def file(path: str) -> dict[str, Any]:
    return {"path": path, "origin": {"path": f"docs/{path}", "repo": "a/b", "licence": "MIT"}}


def said(record: dict[str, Any]) -> list[tuple[str, str]]:
    turns = parsed(record).turns
    return [(turn.role, "".join(part.text or "<>" for part in turn.parts)) for turn in turns]


def test_conversations_keep_their_markers_in_the_order_of_the_files(tmp_path: Path) -> None:
    talk = [
        {"from": "human", "value": "<image>Who?"},
        {"from": "gpt", "value": "They."},
        {"from": "human", "value": "What?<video>"},
        {"from": "gpt", "value": "That."},
    ]
    files = [file("1.jpg"), file("2.mp4")]
    sample = {"kind": "multi_image", "files": files, "conversations": talk}
    [record] = made(tmp_path, sample)
    assert said(record) == [
        ("user", "<>Who?"), ("assistant", "They."), ("user", "What?<>"), ("assistant", "That.")
    ]  # fmt: skip
    assert [(m.kind, m.path) for m in parsed(record).media] == [
        ("image", "1.jpg"), ("video", "2.mp4")
    ]  # fmt: skip


def test_a_picture_that_no_marker_names_stands_first(tmp_path: Path) -> None:
    talk = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A panda."}]
    sample = {"kind": "single_image", "files": [file("1.jpg")], "conversations": talk}
    [record] = made(tmp_path, sample)
    assert said(record) == [("user", "<>\nWhat?"), ("assistant", "A panda.")]


def test_captions_labels_and_boxes_become_answers(tmp_path: Path) -> None:
    one = {"kind": "single_image", "files": [file("1.jpg")]}
    things = [{"category": "Kite", "bbox_xywh": [1.0, 2.0, 3.0, 4.0]}] * 2
    lines = [{"quad": [9, 1, 19, 2, 18, 8, 8, 7], "text": "TOTAL"}]
    records = made(
        tmp_path,
        one | {"text": "A bus.", "text_info": {"kind": "caption"}},
        one | {"annotations": [{"type": "detection", "objects": things}]},
        one
        | {
            "annotations": [
                {"type": "ocr_lines", "lines": lines},
                {"type": "key_information", "fields": {"total": "3"}},
            ]
        },
        one | {"annotations": [{"type": "question", "question": "How many?"}]},
    )
    assert [said(record)[-1] for record in records] == [
        ("assistant", "A bus."),
        ("assistant", "2 Kite"),
        ("assistant", '{"total": "3"}'),
        ("assistant", "How many?"),
    ]
    [kite, _] = parsed(records[1]).media[0].boxes
    assert (kite.xyxy, kite.label) == ((1.0, 2.0, 4.0, 6.0), "Kite")
    assert parsed(records[2]).media[0].boxes[0].xyxy == (8.0, 1.0, 19.0, 8.0)


def test_a_picture_with_nothing_said_of_it_keeps_its_origin_only(tmp_path: Path) -> None:
    [record] = made(tmp_path, {"kind": "single_image", "files": [file("1.jpg")]})
    assert said(record) == [("text", "<>\ndocs/1.jpg, from a/b (MIT)\n")]


def test_interleaved_text_and_text_files_become_documents(tmp_path: Path) -> None:
    lines = [{"instruction": "Why?", "output": "Because."}, {"captions": ["A", "B"]}]
    (tmp_path / "qa.jsonl").write_text("\n".join(map(json.dumps, lines)))
    records = made(
        tmp_path,
        {"kind": "multi_image", "files": [file("1.jpg")], "text": "# Title\n<image> end"},
        {"kind": "text", "files": [file("qa.jsonl")]},
    )
    assert said(records[0]) == [("text", "# Title\n<> end")]
    assert said(records[1]) == [("text", "Why?\nBecause.\n\nA\nB")]


def test_cameras_of_each_notation_stand_where_they_should() -> None:
    lens = {"width": 400, "height": 300, "focal": 0.5}
    quarter_turn = {"rotation": [0.0, np.pi / 2, 0.0], "translation": [0.0, 0.0, 2.0]}
    shots = {"shots": {"1.jpg": quarter_turn | {"camera": "c"}}, "cameras": {"c": lens}}
    posed = read_cameras(shots, [file("1.jpg")])
    assert (posed.convention, posed.intrinsics) == ("opencv", [[200.0, 200.0, 200.0, 150.0]])
    world = np.array([[0, 0, -1, 2], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    assert np.abs(posed.poses[0] - world).max() < 1e-12

    shift = np.eye(4)
    shift[:3, 3] = 1, 2, 3
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    car = {
        "cam2ego": [shift.tolist()],
        "ego2global": turn.tolist(),
        "intrinsics_per_camera": [[[5, 0, 7], [0, 6, 8], [0, 0, 1]]],
    }
    posed = read_cameras(car, [file("1.jpg")])
    assert posed.intrinsics == [[5, 6, 7, 8]]
    assert posed.poses[0][:3, 3].tolist() == [-1, -2, 3]

    nerf = {
        "intrinsics": {"fl_x": 1, "fl_y": 2, "cx": 3, "cy": 4, "w": 5},
        "camera_to_world": [EYE, EYE],
    }
    posed = read_cameras(nerf, [file("1.jpg"), file("2.jpg")])
    assert (posed.convention, posed.intrinsics) == ("opengl", [[1, 2, 3, 4]] * 2)
    with pytest.raises(ValueError, match="unknown notation 'ECEF'"):
        read_cameras({"convention": "ECEF"}, [])


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside the checkout")
def test_the_real_manifest_gives_a_record_a_sample() -> None:
    samples = [parsed(record) for record in corpus_records(CORPUS)]
    assert len(samples) == 344
    assert [sample.message for sample in samples if sample.drop] == []
    media = Counter(medium.kind for sample in samples for medium in sample.media)
    assert media == {"image": 321, "video": 11, "view": 18}
    learned = [
        any(turn.role in ("assistant", "text") and turn.parts for turn in sample.turns)
        for sample in samples
    ]
    assert all(learned)
