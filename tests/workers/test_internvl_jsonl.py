from __future__ import annotations

import json
from math import isnan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import BuildError, RecipeError
from schemas.reasons import Reason
from workers.sources.internvl_jsonl import Entry, InternvlJsonlOptions, entries, plan, read
from workers.sources.sample import Sample
from workers.storage.folder import folder_of

DEFAULT = InternvlJsonlOptions()
DOCS = {
    "root": "playground/data/",
    "annotation": "playground/opensource/docs.jsonl",
    "data_augment": False,
    "max_dynamic_patch": 24,
    "repeat_time": 2,
    "length": 102025,
}
SAID = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "This."}]
FILM = [{"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "That."}]


def listed(folder: Path, meta: Any) -> list[Entry]:
    text = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
    (folder / "meta.json").write_bytes(text)
    return entries(folder_of(folder), "meta.json")


def samples(folder: Path, *records: Any, rows: int = 100) -> list[Sample]:
    lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
    (folder / "docs.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    root = folder_of(folder)
    blocks = plan(root, "docs.jsonl", rows)
    return [sample for block in blocks for sample, _ in read(root, block, DEFAULT)]


def shape(sample: Sample) -> list[str | int]:
    assert sample.drop is None, sample.message
    return [part.text or part.item for turn in sample.turns for part in turn.parts]


def test_a_meta_file_is_a_list_of_data_sets_in_its_order(tmp_path: Path) -> None:
    meta = {"sharegpt4v": DOCS, "geoqa+": {"root": "", "annotation": "./geoqa+.jsonl"}}
    assert listed(tmp_path, meta) == [
        Entry("sharegpt4v", "playground/data", "playground/opensource/docs.jsonl", 2.0, 24),
        Entry("geoqa+", "", "geoqa+.jsonl", 1.0, None),
    ]


def test_absolute_paths_below_the_root_are_made_relative(tmp_path: Path) -> None:
    changes = {"root": f"{tmp_path}/data", "annotation": f"{tmp_path}/a.jsonl", "repeat_time": 0.5}
    assert listed(tmp_path, {"docs": DOCS | changes}) == [Entry("docs", "data", "a.jsonl", 0.5, 24)]
    for root in (str(tmp_path), f"{tmp_path}/", ".", "./"):
        assert listed(tmp_path, {"docs": DOCS | {"root": root}})[0].root == ""


BAD_ENTRIES: list[tuple[dict[str, Any], str]] = [
    ({"root": "../data"}, "docs.root: leaves the root: '../data' (the source's root is /"),
    ({"root": "/data"}, "docs.root: must be relative, with forward slashes, found '/data' (the"),
    ({"root": "/"}, "docs.root: must be relative"),
    ({"root": "s3://bucket/data"}, "docs.root: must be relative"),
    ({"root": None}, "docs.root: expected a text, found nothing"),
    ({"annotation": "a/../../b.jsonl"}, "docs.annotation: leaves the root"),
    ({"annotation": "/etc/passwd"}, "docs.annotation: must be relative"),
    ({"annotation": ""}, "docs.annotation: is empty"),
    ({"annotation": ["a.jsonl"]}, "docs.annotation: expected a text, found a list"),
    ({"repeat_time": "2"}, "docs.repeat_time: expected a number, found a text"),
    ({"repeat_time": -1}, "docs.repeat_time: expected 0 to 1000, found -1"),
    ({"repeat_time": 1e9}, "docs.repeat_time: expected 0 to 1000"),
    ({"repeat_time": float("nan")}, "docs.repeat_time: expected a finite number"),
    ({"max_dynamic_patch": 0}, "docs.max_dynamic_patch: expected a whole number from 1 to 1024"),
    ({"max_dynamic_patch": 1.5}, "docs.max_dynamic_patch: expected a whole number"),
    ({"max_dynamic_patch": True}, "docs.max_dynamic_patch: expected a whole number"),
]


@pytest.mark.parametrize(("changes", "words"), BAD_ENTRIES)
def test_a_wrong_entry_is_named_with_its_key(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(RecipeError) as error:
        listed(tmp_path, {"good": DOCS, "docs": DOCS | changes})
    assert str(error.value).startswith(f"{tmp_path}/meta.json: {words}")
    assert "\n" not in str(error.value)


BAD_METAS: list[tuple[bytes, str]] = [
    (b"", "meta file: not JSON: Expecting value at line 1, column 1"),
    (b'{"docs": {},\n}', "meta file: not JSON: Expecting property name enclosed in double quotes"),
    (b"[" * 100_000, "meta file: not JSON: nested too deeply"),
    (b'{"a": ' + b"9" * 5000 + b"}", "meta file: not JSON"),
    (b'{"\xff": {}}', "meta file: not UTF-8"),
    (b"[]", "meta file: expected data sets by name, found a list"),
    (b"{}", "meta file: expected data sets by name, found an object"),
    (b'{"docs": []}', "docs: expected an object, found a list"),
    (b'{"docs": {}, "docs": {}}', "'docs': stands twice in one object"),
    (b'{"": {}}', "'': a name has 1 to 128 bytes"),
    (b'{"a/b": {}}', "'a/b': a name has 1 to 128 bytes"),
    (b'{"a\\u0007": {}}', r"'a\x07': a name has 1 to 128 bytes"),
    (b'{"a\\ud800": {}}', r"'a\ud800': a name has 1 to 128 bytes"),
    (b'{"' + b"a" * 129 + b'": {}}', "'aaa"),
]


@pytest.mark.parametrize(("meta", "words"), BAD_METAS)
def test_a_file_that_is_no_meta_file_stops_the_build(
    tmp_path: Path, meta: bytes, words: str
) -> None:
    with pytest.raises(RecipeError) as error:
        listed(tmp_path, meta)
    assert str(error.value).startswith(f"{tmp_path}/meta.json: {words}")


def test_a_missing_meta_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.json: meta file: no such file"):
        entries(folder_of(tmp_path), "none.json")


def test_lines_of_every_kind_that_internvl_documents(tmp_path: Path) -> None:
    text, one, many, box, film = samples(
        tmp_path,
        {"id": 0, "conversations": [{"from": "human", "value": "Hello"}, SAID[1]]},
        {"id": 1, "image": "a.jpg", "width": 640, "height": 480, "conversations": SAID},
        {
            "id": 2,
            "image": ["a.jpg", "b/c.jpg"],
            "width_list": [1, 2],
            "height_list": [1, 2],
            "conversations": [
                {"from": "human", "value": "Image-1: <image>\nImage-2: <image>\nWhat?"},
                SAID[1],
            ],
        },
        {
            "id": 3,
            "image": "a.jpg",
            "conversations": [
                {"from": "human", "value": "Where is <ref>the door</ref>?"},
                {"from": "gpt", "value": "<ref>the door</ref><box>[[1, 2, 3, 4]]</box>"},
            ],
        },
        {"id": 4, "video": "v.mp4", "conversations": FILM},
    )
    assert shape(text) == ["Hello", "This."]
    assert shape(one) == [0, "\nWhat?", "This."]
    assert shape(many) == ["Image-1: ", 0, "\nImage-2: ", 1, "\nWhat?", "This."]
    assert shape(box) == [
        *(0, "\nWhere is <ref>the door</ref>?"),
        "<ref>the door</ref><box>[[1, 2, 3, 4]]</box>",
    ]
    assert shape(film) == [0, "\nWhat?", "That."]
    assert [sample.sample_id for sample in (text, one, many, box, film)] == list("01234")
    assert [ref.path for ref in many.media] == ["a.jpg", "b/c.jpg"]
    assert film.media[0].kind == "video"
    assert isnan(film.media[0].clip_start)


def test_a_clip_is_a_part_of_the_video(tmp_path: Path) -> None:
    record = {"id": 0, "video": "v.mp4", "conversations": FILM}
    clips: list[Any] = [[1.5, 4], [], None, [4, 1.5], [-1, 2], [1], "1-2", [0, float("inf")]]
    found = samples(tmp_path, *(json.dumps(record | {"clip": c}).encode() for c in clips))
    (ref,) = found[0].media
    assert (ref.path, ref.clip_start, ref.clip_end) == ("v.mp4", 1.5, 4.0)
    assert [sample.drop for sample in found[1:3]] == [None, None]
    drops = [sample.drop for sample in found[3:]]
    assert drops == [*[Reason.BAD_CLIP] * 4, Reason.BAD_RECORD]  # Infinity is not JSON
    assert found[3].message == (
        "line 4: clip: seconds must be positive and in order, found 4.0 to 1.5"
    )
    two = record | {"video": ["v.mp4", "w.mp4"], "clip": [0, 1]}
    assert samples(tmp_path, two)[0].drop is Reason.BAD_CLIP


def test_a_bad_line_drops_its_own_sample_and_counts(tmp_path: Path) -> None:
    good = {"image": "a.jpg", "conversations": SAID}
    found = samples(tmp_path, good, b"{nonsense", b"", good | {"image": []}, good, rows=2)
    assert [sample.sample_id for sample in found] == ["docs-1", "docs-2", "docs-4", "docs-5"]
    assert [sample.drop for sample in found] == [
        None,
        Reason.BAD_RECORD,
        Reason.MARKER_WITHOUT_MEDIA,
        None,
    ]
    assert (found[1].message or "").startswith("line 2: not JSON: ")
    assert found[2].message == "line 4: conversations: 1 <image> for 0 media"


def test_annotations_that_are_no_lines_stop_the_build(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (tmp_path / "a.jsonl").write_text(json.dumps([{"conversations": SAID}]))
    with pytest.raises(RecipeError, match=r"a\.jsonl: expected JSON Lines, it begins with '\['"):
        plan(folder, "a.jsonl", 10)
    with pytest.raises(FileNotFoundError):
        plan(folder, "none.jsonl", 10)
    (tmp_path / "a.jsonl").write_text("")
    assert plan(folder, "a.jsonl", 10) == []


def test_annotations_that_change_under_the_build_stop_it(tmp_path: Path) -> None:
    folder, path = folder_of(tmp_path), tmp_path / "a.jsonl"
    path.write_text(json.dumps({"conversations": SAID, "image": "a"}) + "\n")
    (block,) = plan(folder, "a.jsonl", 10)
    path.write_text(path.read_text().replace("What", "When"))
    with pytest.raises(BuildError, match=r"a\.jsonl changed while the build read it"):
        list(read(folder, block, DEFAULT))


@settings(deadline=None)
@given(
    lines=st.lists(
        st.sampled_from(
            [b"", b" ", b"[]", b"{}", b'{"text": "a", "id": 7}', b'{"text": "<image>"}', b"\xff"]
        ),
        max_size=12,
    ),
    rows=st.integers(1, 5),
    ended=st.booleans(),
)
def test_any_split_into_blocks_gives_the_same_samples(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], rows: int, ended: bool
) -> None:
    folder = tmp_path_factory.mktemp("internvl")
    data = b'{"text": "first"}\n' + b"\n".join(lines) + (b"\n" if ended else b"")
    (folder / "a.jsonl").write_bytes(data)
    root = folder_of(folder)
    (whole,), blocks = plan(root, "a.jsonl", 100), plan(root, "a.jsonl", rows)
    found = [sample for block in blocks for sample in read(root, block, DEFAULT)]
    assert found == list(read(root, whole, DEFAULT))
    assert sum(block.rows for block in blocks) == len(found) == whole.rows
