from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from examples.demo_records import tar_of
from schemas.errors import BuildError
from schemas.tables import SURVEYED
from tests.tiny_source import asked, encoded, film, in_tar, picture, write_records
from workers import headers
from workers.media_files import Input
from workers.sources.block import Block
from workers.sources.records import RecordsOptions, plan, read
from workers.sources.sample import MediaRef, Part, Sample, Turn
from workers.storage.folder import folder_of
from workers.survey import SurveySpec, survey

EYE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
PNG = encoded(picture(1, (40, 24)), "png")
JPEG = encoded(picture(2, (50, 30)), "jpeg")


def blocks_of(path: Path, rows: int = 1000) -> list[Block]:
    return plan(folder_of(path.parent), path.name, rows)


def survey_block(folder: Path, block: Block) -> tuple[pa.Table, list[Input]]:
    root = folder_of(folder)
    return survey(SurveySpec("photos", root, {}), read(root, block, RecordsOptions()))


def surveyed(
    folder: Path, files: dict[str, bytes], records: list[dict[str, Any]]
) -> tuple[pa.Table, list[Input]]:
    (block,) = blocks_of(write_records(folder, files, records))
    return survey_block(folder, block)


def as_text(table: pa.Table) -> str:
    """Its rows for comparison: NaN is not equal to NaN."""
    return json.dumps(table.to_pylist())


def one(folder: Path, data: bytes, **part: Any) -> dict[str, Any]:
    """The row of a sample with this one medium."""
    part = {"type": "image", "path": "a.jpg", **part}
    table, _ = surveyed(folder, {part["path"]: data}, [asked("s", part)])
    return dict(table.to_pylist()[0])


def test_a_row_holds_turns_and_measured_items(tmp_path: Path) -> None:
    files = {"t.tar": tar_of({"x.txt": b"x" * 99, "a.jpg": JPEG}), "d/b.png": PNG, "c.mp4": film()}
    video = {"type": "video", "path": "c.mp4", "start": 0.5, "end": 1.5}
    table, inputs = surveyed(
        tmp_path, files, [asked("17", in_tar("a.jpg", "t.tar"), "d/b.png", video)]
    )
    assert table.schema == SURVEYED
    (row,) = table.to_pylist()
    offset = 3 * 512
    assert row["sample_id"] == "photos/17"
    assert row["source"] == "photos"
    assert row["origin"] == f"t.tar#{offset}+{len(JPEG)}"
    assert (row["drop"], row["message"]) == (None, None)
    assert [turn["role"] for turn in row["turns"]] == ["user", "assistant"]
    assert row["turns"][0]["parts"] == [
        {"kind": "media", "text": "", "item": 0, "xy": []},
        {"kind": "media", "text": "", "item": 1, "xy": []},
        {"kind": "media", "text": "", "item": 2, "xy": []},
        {"kind": "text", "text": "What is it?", "item": -1, "xy": []},
    ]
    jpeg, png, clip = row["items"]
    assert (jpeg["path"], jpeg["member"]) == ("t.tar", "a.jpg")
    assert (jpeg["offset"], jpeg["size"]) == (offset, len(JPEG))
    assert jpeg["sha256"] == hashlib.sha256(JPEG).hexdigest()
    assert (jpeg["format"], jpeg["mode"], jpeg["width"], jpeg["height"]) == ("jpeg", "RGB", 50, 30)
    assert (jpeg["frames"], jpeg["fps"], jpeg["duration"]) == (1, 0.0, 0.0)
    assert isnan(jpeg["clip_start"])
    assert (png["path"], png["member"], png["offset"]) == ("d/b.png", "", 0)
    assert (clip["kind"], clip["format"], clip["frames"]) == ("video", "mov", 12)
    assert (clip["fps"], clip["duration"]) == (6.0, 2.0)
    assert (clip["clip_start"], clip["clip_end"]) == (0.5, 1.5)
    assert clip["sha256"] == hashlib.sha256(files["c.mp4"]).hexdigest()
    assert [found.path for found in inputs] == ["t.tar", "d/b.png", "c.mp4"]
    stat = (tmp_path / "c.mp4").stat()
    assert inputs[2] == Input("c.mp4", stat.st_size, str(stat.st_mtime_ns))


def test_boxes_and_cameras_come_with_their_item(tmp_path: Path) -> None:
    camera = {"path": "a.jpg", "intrinsics": [9, 9, 25, 15], "pose": EYE}
    records = [
        asked("boxes", {"type": "image", "path": "a.jpg", "boxes": [{"xyxy": [0, 0, 50, 30]}]}),
        asked("views", {"type": "views", "convention": "opencv", "views": [camera, camera]}),
    ]
    table, _ = surveyed(tmp_path, {"a.jpg": JPEG}, records)
    boxes, views = table.to_pylist()
    assert boxes["items"][0]["boxes"] == [{"xyxy": [0.0, 0.0, 50.0, 30.0], "label": ""}]
    assert boxes["items"][0]["camera_convention"] == ""
    assert [item["kind"] for item in views["items"]] == ["view", "view"]
    assert views["items"][1]["intrinsics"] == [9.0, 9.0, 25.0, 15.0]
    assert views["items"][1]["pose"] == [float(v) for row in EYE for v in row]
    assert views["items"][1]["camera_convention"] == "opencv"


def test_a_depth_map_is_measured_with_its_view(tmp_path: Path) -> None:
    depth = encoded(Image.fromarray(np.full((15, 25), 2000, np.uint16)), "png")
    file = deep({"path": "d/1.png"})
    member = deep({"tar": "d.tar", "member": "1", "steps_a_metre": 4000})
    table, inputs = surveyed(
        tmp_path,
        {"a.jpg": JPEG, "d/1.png": depth, "d.tar": tar_of({"x": b"x", "1": depth})},
        [asked("s", file, member, deep(None))],
    )
    (row,) = table.to_pylist()
    names = ("path", "member", "offset", "size", "sha256", "steps_a_metre")
    digest = hashlib.sha256(depth).hexdigest()
    assert [tuple(item[f"depth_{name}"] for name in names) for item in row["items"]] == [
        ("d/1.png", "", 0, len(depth), digest, 1000.0),
        ("d.tar", "1", 3 * 512, len(depth), digest, 4000.0),
        ("", "", 0, 0, "", 0.0),
    ]
    assert [found.path for found in inputs] == ["a.jpg", "d/1.png", "d.tar"]


def deep(depth: dict[str, Any] | None, intrinsics: Sequence[float] = (9, 9, 25, 15)) -> Any:
    view = {"path": "a.jpg", "intrinsics": list(intrinsics), "pose": EYE}
    views = [{**view, **({"depth": depth} if depth else {})}]
    return {"type": "views", "convention": "opencv", "views": views}


def grey(width: int, height: int) -> bytes:
    return encoded(Image.fromarray(np.zeros((height, width), np.uint16)), "png")


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (None, "missing_media", "d.png: No such file"),
        (b"", "empty_file", "d.png bytes 0+0: no bytes"),
        (b"depth", "not_media", "d.png bytes 0+5: "),
        (JPEG, "unsupported_mode", "a depth map as jpeg: expected a 16-bit grey png"),
        (PNG, "unsupported_mode", "png of mode RGB: expected 16-bit grey"),
        (encoded(picture(1, (50, 30)).convert("L"), "png"), "unsupported_mode", "png of mode L"),
        (grey(50, 30)[:-20], "truncated", "png without its IEND chunk"),
        (grey(30, 50), "bad_camera", "30×50 is no section of the world that the picture's 50×30"),
        (grey(25, 17), "bad_camera", "25×17 is no section"),
    ],
)
def test_a_bad_depth_map_drops_its_sample(
    tmp_path: Path, data: bytes | None, reason: str, words: str
) -> None:
    files = {"a.jpg": JPEG, **({} if data is None else {"d.png": data})}
    table, inputs = surveyed(tmp_path, files, [asked("s", deep({"path": "d.png"}))])
    (row,) = table.to_pylist()
    assert row["drop"] == reason
    assert row["message"].startswith("turns[0].parts[0].views[0].depth: d.png")
    assert words in row["message"]
    assert [found.path for found in inputs] == ["a.jpg", "d.png"]


def test_a_depth_map_over_the_pixel_limit_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headers, "MAX_PIXELS", 50 * 30)
    files = {"a.jpg": JPEG, "d.png": grey(100, 60)}
    table, _ = surveyed(tmp_path, files, [asked("s", deep({"path": "d.png"}))])
    assert table.column("drop").to_pylist() == ["too_many_pixels"]


@pytest.mark.parametrize("wh", [(50, 30), (25, 15), (25, 16), (500, 300), (3, 2), (51, 30)])
def test_a_depth_map_may_have_another_resolution(tmp_path: Path, wh: tuple[int, int]) -> None:
    files = {"a.jpg": JPEG, "d.png": grey(*wh)}
    table, _ = surveyed(tmp_path, files, [asked("s", deep({"path": "d.png"}))])
    assert table.column("drop").to_pylist() == [None]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (JPEG[:-40], "truncated"),
        (PNG[:-9], "truncated"),
        (b"<html>", "not_media"),
        (film(), "not_media"),
    ],
)
def test_a_bad_picture_drops_its_sample_with_file_and_range(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    row = one(tmp_path, data)
    assert row["drop"] == reason
    assert row["message"].startswith(f"turns[0].parts[0]: a.jpg bytes 0+{len(data)}: ")
    assert row["origin"] == "a.jpg"
    assert (row["turns"], row["items"]) == ([], [])


def test_a_bad_member_is_named_with_its_archive_and_range(tmp_path: Path) -> None:
    tar = tar_of({"a.jpg": JPEG[:-40], "b.jpg": JPEG})
    records = [
        asked("cut", in_tar("a.jpg", "t.tar")),
        asked("none", in_tar("c.jpg", "t.tar")),
        asked("lost", in_tar("b.jpg", "damaged.tar")),
        asked("no tar", in_tar("b.jpg", "missing.tar")),
    ]
    table, _ = surveyed(tmp_path, {"t.tar": tar, "damaged.tar": tar[:900]}, records)
    cut, none, lost, no_tar = table.to_pylist()
    where = f"t.tar member 'a.jpg' bytes 512+{len(JPEG) - 40}"
    assert cut["message"] == f"turns[0].parts[0]: {where}: jpeg without an end marker"
    assert cut["origin"] == f"t.tar#512+{len(JPEG) - 40}"
    assert (none["drop"], lost["drop"]) == ("missing_media", "damaged_archive")
    assert "t.tar: no member 'c.jpg'" in none["message"]
    assert "damaged.tar: damaged at byte 0" in lost["message"]
    assert (no_tar["drop"], no_tar["origin"][:14]) == ("missing_media", "records.jsonl#")


def test_a_fault_drops_its_own_sample_only(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        asked("good", "a.jpg"),
        asked("bad", "a.jpg", "missing.jpg"),
        asked("box", {"type": "image", "path": "a.jpg", "boxes": [{"xyxy": [0, 0, 51, 30]}]}),
        {"id": "empty", "turns": []},
        {"id": "text", "turns": [{"role": "text", "text": "alone"}]},
    ]
    table, inputs = surveyed(tmp_path, {"a.jpg": JPEG}, records)
    rows = table.to_pylist()
    drops = [row["drop"] for row in rows]
    assert drops == [None, "missing_media", "bad_box", "empty_sample", None]
    assert "is not inside 50×30" in rows[2]["message"]
    assert rows[1]["message"].startswith("turns[0].parts[1]: missing.jpg: ")
    assert rows[3]["message"] == "line 4: turns: neither text nor media"
    line = (tmp_path / "records.jsonl").read_bytes().splitlines(keepends=True)
    begin = sum(map(len, line[:4]))
    assert rows[4]["origin"] == f"records.jsonl#{begin}+{len(line[4])}"
    assert [(found.path, found.size) for found in inputs] == [
        ("a.jpg", len(JPEG)),
        ("missing.jpg", -1),
    ]


def test_a_line_that_is_not_json_is_a_row_with_its_number(tmp_path: Path) -> None:
    path = write_records(tmp_path, {"a.jpg": JPEG}, [asked("first", "a.jpg")])
    with path.open("a") as file:
        file.write("\n{nonsense\n")
    (block,) = blocks_of(path)
    row = survey_block(tmp_path, block)[0].to_pylist()[1]
    assert (row["sample_id"], row["drop"]) == ("photos/records-3", "bad_record")
    assert row["message"].startswith("line 3: not JSON: ")


def test_videos_that_are_none_have_their_reason(tmp_path: Path) -> None:
    row = one(tmp_path, JPEG, type="video", path="v.mp4")
    assert row["drop"] == "not_media"
    assert row["message"].startswith(f"turns[0].parts[0]: v.mp4 bytes 0+{len(JPEG)}: ")


def test_a_repeated_member_is_noted(tmp_path: Path) -> None:
    member = tar_of({"a.jpg": JPEG})[: 512 + -(-len(JPEG) // 512) * 512]
    files = {"t.tar": member + member + bytes(1024)}
    table, _ = surveyed(tmp_path, files, [asked("s", in_tar("a.jpg", "t.tar"))])
    (row,) = table.to_pylist()
    assert row["items"][0]["notes"] == ["repeated_member"]
    assert row["items"][0]["offset"] == 512
    depth = tar_of({"d": grey(50, 30)})[:1024]
    files |= {"a.jpg": JPEG, "d.tar": depth + depth + bytes(1024)}
    table, _ = surveyed(tmp_path, files, [asked("s", deep({"tar": "d.tar", "member": "d"}))])
    assert table.to_pylist()[0]["items"][0]["notes"] == ["repeated_member"]


def test_blocks_together_are_the_whole_file(tmp_path: Path) -> None:
    records = [asked(f"s{i}", "a.jpg", "missing.jpg" if i % 3 == 0 else "a.jpg") for i in range(10)]
    path = write_records(tmp_path, {"a.jpg": JPEG}, records)
    whole, *parts = (
        survey_block(tmp_path, block)[0] for rows in (10, 3) for block in blocks_of(path, rows)
    )
    assert [part.num_rows for part in parts] == [3, 3, 3, 1]
    assert as_text(pa.concat_tables(parts)) == as_text(whole)


def test_the_table_does_not_depend_on_where_the_source_lies(tmp_path: Path) -> None:
    records = [asked("a", "a.jpg"), asked("b", "missing.jpg"), {"id": "c"}]
    tables = [
        surveyed(tmp_path / name, {"a.jpg": JPEG}, records)[0] for name in ("one", "two/three")
    ]
    assert as_text(tables[0]) == as_text(tables[1])
    assert str(tmp_path) not in as_text(tables[0])


def test_a_records_file_that_became_shorter_stops_the_build(tmp_path: Path) -> None:
    path = write_records(tmp_path, {"a.jpg": JPEG}, [asked("a", "a.jpg"), asked("b", "a.jpg")])
    (block,) = blocks_of(path)
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    with pytest.raises(BuildError, match="build again"):
        survey_block(tmp_path, block)


def test_media_may_have_a_stand_in_and_a_known_range(tmp_path: Path) -> None:
    files = {"real/unpacked": b"before" + JPEG + b"after", "root/a.png": PNG}
    write_records(tmp_path, files, [])
    spec = SurveySpec(
        "photos",
        folder_of(tmp_path / "root"),
        {"t.tgz": (folder_of(tmp_path / "real"), "unpacked")},
    )
    media = (
        MediaRef("image", "t.tgz", "a.jpg", "jpg", span=(6, len(JPEG))),
        MediaRef("image", "a.png", "", "png"),
    )
    turns = (Turn("user", (Part("", 0), Part("", 1))),)
    table, inputs = survey(spec, [(Sample("s", turns, media), "t.tgz#a")])
    (row,) = table.to_pylist()
    assert (row["sample_id"], row["origin"], row["drop"]) == ("photos/s", "t.tgz#a", None)
    known, plain = row["items"]
    assert (known["path"], known["member"], known["offset"]) == ("t.tgz", "a.jpg", 6)
    assert (known["size"], known["sha256"]) == (len(JPEG), hashlib.sha256(JPEG).hexdigest())
    assert (plain["path"], plain["size"]) == ("a.png", len(PNG))
    assert [found.path for found in inputs] == ["a.png"]
