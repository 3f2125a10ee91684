from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.errors import BuildError, RecipeError
from schemas.reasons import Reason
from workers.sources import json_array
from workers.sources.block import Block
from workers.sources.json_text import MAX_RECORD_BYTES
from workers.sources.llava_json import LlavaJsonOptions, plan, read
from workers.sources.sample import Sample
from workers.storage.folder import folder_of

ROOT = Path(__file__).parents[2]
DEFAULT = LlavaJsonOptions()
HUMAN = {"from": "human", "value": "<image>\nWhat is it?"}
GPT = {"from": "gpt", "value": "A door."}
DOOR = {"id": "000000033471", "image": "coco/train2017/1.jpg", "conversations": [HUMAN, GPT]}


def samples(data: bytes, options: LlavaJsonOptions = DEFAULT, rows: int = 1000) -> list[Sample]:
    return [sample for sample, _ in with_origins(data, options, rows)]


def with_origins(
    data: bytes, options: LlavaJsonOptions = DEFAULT, rows: int = 1000
) -> list[tuple[Sample, str]]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "chat.json").write_bytes(data)
        root = folder_of(Path(folder))
        blocks = plan(root, "chat.json", rows)
        check_blocks(data, blocks, rows)
        return [found for block in blocks for found in read(root, block, options)]


def check_blocks(data: bytes, blocks: list[Block], rows: int) -> None:
    """Each as full as it may be, in order, and with the digest of its own bytes."""
    for block in blocks:
        assert hashlib.sha256(data[block.start : block.end]).hexdigest() == block.sha256
    assert [block.rows for block in blocks[:-1]] == [rows] * (len(blocks) - 1)
    assert all(a.end <= b.start for a, b in pairwise(blocks))


def one(record: Any, options: LlavaJsonOptions = DEFAULT) -> Sample:
    (sample,) = samples(json.dumps([record]).encode(), options)
    return sample


def talk(*turns: tuple[str, str], **fields: Any) -> Sample:
    said = [{"from": role, "value": text} for role, text in turns]
    return one({"id": "a", "conversations": said, **fields})


def shape(sample: Sample) -> list[str | int]:
    assert sample.drop is None, sample.message
    return [part.text or part.item for turn in sample.turns for part in turn.parts]


def test_a_record_of_llava_becomes_turns_with_its_picture_at_the_marker() -> None:
    sample = one(DOOR)
    assert (sample.sample_id, sample.drop) == ("000000033471", None)
    assert [turn.role for turn in sample.turns] == ["user", "assistant"]
    assert shape(sample) == [0, "\nWhat is it?", "A door."]
    (ref,) = sample.media
    assert (ref.kind, ref.path, ref.field) == ("image", "coco/train2017/1.jpg", "image")


def test_an_array_and_lines_of_the_same_records_are_the_same_samples() -> None:
    records = [DOOR, {"conversations": [HUMAN]}, {"text": "alone"}, DOOR | {"image": "/x.jpg"}]
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    array, listed = samples(json.dumps(records, indent=2).encode()), samples(lines)
    assert [sample.sample_id for sample in array] == [DOOR["id"], "chat-2", "chat-3", DOOR["id"]]
    for a, b in zip(array, listed, strict=True):
        assert (a.sample_id, a.turns, a.media, a.drop) == (b.sample_id, b.turns, b.media, b.drop)
        assert (a.message or "").replace("element", "line") == (b.message or "")


def test_markers_may_stand_in_any_turn_and_take_media_in_order() -> None:
    sample = talk(
        ("system", "Be brief."),
        ("human", "One <image>, two <image>"),
        ("gpt", "Seen."),
        ("human", "<image>\nand <video> here"),
        ("gpt", "<image> is the first."),
        image=["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
        video="v.mp4",
    )
    assert shape(sample) == [
        "Be brief.",
        *("One ", 0, ", two ", 1),
        "Seen.",
        *(2, "\nand ", 3, " here"),
        *(4, " is the first."),
    ]
    assert [ref.path for ref in sample.media] == ["a.jpg", "b.jpg", "c.jpg", "v.mp4", "d.jpg"]
    assert sample.media[4].field == "image[3]"


@pytest.mark.parametrize(
    ("fields", "front"),
    [
        ({"image": "a.jpg"}, [0]),
        ({"video": "v.mp4"}, [0]),
        ({"image": ["a.jpg", "b.jpg"]}, [0, 1]),
        ({"image": ["a.jpg"], "video": ["v.mp4"]}, [0, 1]),
    ],
)
def test_media_without_any_marker_stand_in_front_of_the_first_turn_of_the_user(
    fields: dict[str, Any], front: list[int]
) -> None:
    sample = talk(
        ("system", "S"), ("human", "What?"), ("gpt", "This."), ("human", "Why?"), **fields
    )
    assert shape(sample) == ["S", *front, "\nWhat?", "This.", "Why?"]
    assert shape(talk(("human", ""), ("gpt", "This."), **fields)) == [*front, "This."]


def test_an_image_marker_stands_for_a_video_where_there_is_no_image() -> None:
    assert shape(talk(("human", "<image>\nWhat?"), video="v.mp4")) == [0, "\nWhat?"]
    both = talk(("human", "<image> <video>"), video=["v.mp4", "w.mp4"])
    assert both.drop is Reason.MARKER_WITHOUT_MEDIA


@pytest.mark.parametrize("none", [None, "", []])
def test_no_image_is_text_alone(none: Any) -> None:
    sample = talk(("human", "Hello"), ("gpt", "Hi"), image=none, video=none)
    assert shape(sample) == ["Hello", "Hi"]


def test_a_text_in_place_of_a_conversation_is_a_document() -> None:
    sample = one({"text": "Before <image> after", "image": "a.jpg"})
    assert [turn.role for turn in sample.turns] == ["text"]
    assert shape(sample) == ["Before ", 0, " after"]
    assert shape(one({"text": "after", "image": "a.jpg", "conversations": []})) == [0, "\nafter"]
    assert one({"text": 3}).drop is Reason.BAD_RECORD


BAD: list[tuple[dict[str, Any], Reason, str]] = [
    ({"conversations": None}, Reason.BAD_RECORD, "conversations: expected a list, found nothing"),
    ({"conversations": {}}, Reason.BAD_RECORD, "conversations: expected a list"),
    ({"conversations": [3]}, Reason.BAD_RECORD, "conversations[0]: expected an object"),
    ({"conversations": [{"value": "x"}]}, Reason.BAD_RECORD, "conversations[0].from: expected a"),
    (
        {"conversations": [{"from": "bot", "value": "x"}]},
        Reason.BAD_RECORD,
        "conversations[0].from: expected one of assistant, gpt, human, system, user, found 'bot'",
    ),
    (
        {"conversations": [HUMAN, {"from": "gpt", "text": "x"}]},
        Reason.BAD_RECORD,
        "conversations[1].value: expected a text, found nothing",
    ),
    ({"conversations": []}, Reason.MEDIA_WITHOUT_MARKER, "conversations: media without a marker"),
    ({"conversations": [], "image": None}, Reason.EMPTY_SAMPLE, "conversations: neither text nor"),
    ({"conversations": [GPT, HUMAN]}, Reason.BAD_RECORD, "conversations[0].from: the assistant"),
    ({"conversations": [GPT]}, Reason.BAD_RECORD, "conversations[0].from: the assistant speaks"),
    ({"image": []}, Reason.MARKER_WITHOUT_MEDIA, "conversations: 1 <image> for 0 media"),
    ({"image": ["a", "b"]}, Reason.MEDIA_WITHOUT_MARKER, "conversations: 1 <image> for 2 media"),
    ({"video": "v.mp4"}, Reason.MEDIA_WITHOUT_MARKER, "conversations: 0 <video> for 1 media"),
    ({"image": {"path": "a.jpg"}}, Reason.BAD_RECORD, "image: expected a text, found an object"),
    ({"image": [{"path": "a.jpg"}]}, Reason.BAD_RECORD, "image[0]: expected a text"),
    ({"image": ["a.jpg", None]}, Reason.BAD_RECORD, "image[1]: expected a text, found nothing"),
    ({"image": ["a.jpg", ""]}, Reason.BAD_RECORD, "image[1]: is empty"),
    ({"image": 3}, Reason.BAD_RECORD, "image: expected a text, found a number"),
    ({"image": "/data/a.jpg"}, Reason.PATH_OUTSIDE_ROOT, "image: must be relative"),
    ({"image": "../a.jpg"}, Reason.PATH_OUTSIDE_ROOT, "image: leaves the root"),
    ({"image": "http://x/a.jpg"}, Reason.PATH_OUTSIDE_ROOT, "image: must be relative"),
    ({"video": "C:\\v.mp4"}, Reason.PATH_OUTSIDE_ROOT, "video: must be relative"),
    ({"id": 1.5}, Reason.BAD_RECORD, "id: expected a text or a whole number"),
]


@pytest.mark.parametrize(("changes", "reason", "words"), BAD)
def test_a_bad_record_is_dropped_with_a_reason_that_names_its_field(
    changes: dict[str, Any], reason: Reason, words: str
) -> None:
    sample = one(DOOR | changes)
    assert sample.drop is reason
    assert (sample.message or "").startswith(f"element 1: {words}")
    assert (sample.turns, sample.media) == ((), ())
    assert sample.sample_id == ("chat-1" if "id" in changes else DOOR["id"])


def test_a_conversation_that_the_assistant_begins_may_lose_its_begin() -> None:
    options = LlavaJsonOptions(leading_answer="skip")
    said = [{"from": "system", "value": "S"}, GPT, GPT, HUMAN, GPT]
    sample = one(DOOR | {"conversations": said}, options)
    assert shape(sample) == ["S", 0, "\nWhat is it?", "A door."]
    lost = [GPT | {"value": "<image>"}, HUMAN | {"value": "What?"}]
    assert one(DOOR | {"conversations": lost}, options).drop is Reason.MEDIA_WITHOUT_MARKER
    film = one({"video": "v.mp4", "conversations": lost}, options)
    assert film.message == "element 1: conversations: 0 <video> for 1 media"
    alone = one({"id": "a", "conversations": [GPT]}, options)
    assert alone.drop is Reason.EMPTY_SAMPLE


def test_roles_may_have_other_names_and_ids_may_be_places() -> None:
    options = LlavaJsonOptions(roles={"q": "user", "gpt": "text"}, ids="position")
    said = [{"from": "q", "value": "<image>"}, GPT]
    sample = one(DOOR | {"conversations": said}, options)
    assert [turn.role for turn in sample.turns] == ["user", "text"]
    assert sample.sample_id == "chat-1"
    assert pickle.loads(pickle.dumps(options)) == options
    keys: list[Any] = [{"roles": {"q": "asker"}}, {"leading_answer": "keep"}, {"role": {}}]
    for wrong in keys:
        with pytest.raises(ValidationError):
            LlavaJsonOptions.model_validate(wrong)


BAD_ELEMENTS: list[tuple[bytes, str]] = [
    (b'{"id" 3}', "not JSON: Expecting ':' delimiter at column 7"),
    (b'{\n"id": x}', "not JSON: Expecting value at its line 2, column 7"),
    (b"", "not JSON: Expecting value"),
    (b'{"a": 1]', "not JSON"),
    (b"[" * 100_000 + b"]" * 100_000, "not JSON: nested too deeply"),
    (b'{"text": NaN}', "not JSON: NaN is not JSON"),
    (b'{"id": ' + b"9" * 5000 + b"}", "not JSON"),
    (b'{"text": "\\ud800"}', "not UTF-8"),
    (b'{"text": "\xff"}', "not UTF-8"),
    (b'{"text": "a\nb"}', "not JSON: Invalid control character"),
    (b"\x0c{}", "not JSON"),
    (b"3", "the record: expected an object, found a number"),
    (b"[]", "the record: expected an object, found a list"),
    (b'"],[{"', "the record: expected an object, found a text"),
    (
        b'{"text": "' + b"x" * MAX_RECORD_BYTES + b'"}',
        f"{MAX_RECORD_BYTES + 14} bytes",
    ),
]


@pytest.mark.parametrize(("element", "words"), BAD_ELEMENTS)
@pytest.mark.parametrize("rows", [1, 10])
def test_an_element_that_is_no_record_is_dropped_and_those_around_it_are_not(
    element: bytes, words: str, rows: int
) -> None:
    good = json.dumps(DOOR).encode()
    before, bad, after = samples(b"[" + good + b",\n" + element + b" ," + good + b"]\n", rows=rows)
    assert (before.drop, bad.drop, after.drop) == (None, Reason.BAD_RECORD, None)
    assert bad.sample_id == "chat-2"
    assert (bad.message or "").startswith(f"element 2: {words}")


def test_a_comma_behind_the_last_element_is_an_empty_element() -> None:
    first, empty = samples(b"[" + json.dumps(DOOR).encode() + b",\n]")
    assert (first.drop, empty.drop) == (None, Reason.BAD_RECORD)


def test_a_byte_order_mark_and_blanks_may_stand_in_front() -> None:
    data = json.dumps([DOOR]).encode()
    for front in (b"\xef\xbb\xbf", b"\n\t ", b"\xef\xbb\xbf \r\n", b" " * 200_000):
        assert [sample.drop for sample in samples(front + data)] == [None]
    for front in (b"\xef\xbb\xbf", b"\n\t ", b" " * 200_000):
        assert [sample.drop for sample in samples(front + data[1:-1])] == [None]


@pytest.mark.parametrize(
    "data", [b"", b"\n \n", b"[]", b" [ \n ] \n", b"[" + b" " * 600_000 + b"]"]
)
def test_a_file_without_records_has_no_blocks(data: bytes) -> None:
    assert samples(data) == []


BAD_FILES: list[tuple[bytes, str]] = [
    (b"<html>", "expected a JSON array or JSON Lines, it begins with '<'"),
    (b"\xff\xfe[\0", r"expected a JSON array or JSON Lines, it begins with '\\xff'"),
    (b'"text"', "expected a JSON array or JSON Lines"),
    (b'[{"a": 1}, {"b": [', "at byte 0 does not end: the file ends at byte 18, after 1 whole"),
    (b' [{"a": 1},', "at byte 1 does not end: the file ends at byte 11, after 1 whole elements"),
    (b'[{"a": "]}', "does not end"),
    (b"[", "does not end"),
    (b"[{}]\n[{}]", "text follows the end of the array, at byte 5"),
    (b"[{}]}", "text follows the end of the array, at byte 4"),
    (b"[{}]" + b" " * 600_000 + b",", "text follows the end of the array, at byte 600004"),
    (b"[" + b"[" * 3_000_000, "does not end"),
]


@pytest.mark.parametrize(("data", "words"), BAD_FILES)
def test_a_file_that_is_cut_off_or_something_else_stops_the_build(data: bytes, words: str) -> None:
    with pytest.raises(RecipeError, match=rf"chat\.json: .*{words}"):
        samples(data)


def test_appended_elements_leave_the_full_blocks_as_they_are(tmp_path: Path) -> None:
    folder, path = folder_of(tmp_path), tmp_path / "a.json"
    path.write_text(json.dumps([DOOR] * 5, indent=1))
    before = plan(folder, "a.json", 2)
    path.write_text(json.dumps([DOOR] * 9, indent=1))
    after = plan(folder, "a.json", 2)
    assert after[:2] == before[:2]
    assert [(block.first_row, block.rows) for block in after] == [
        (0, 2),
        (2, 2),
        (4, 2),
        (6, 2),
        (8, 1),
    ]


@pytest.mark.parametrize("lines", [False, True])
def test_a_file_that_changes_under_the_build_stops_it(tmp_path: Path, lines: bool) -> None:
    folder, path = folder_of(tmp_path), tmp_path / "a.json"
    text = json.dumps(DOOR)
    data = f"{text}\n{text}\n" if lines else f"[{text},\n{text}]"
    path.write_text(data)
    blocks = plan(folder, "a.json", 1)
    assert len(blocks) == 2
    path.write_text(data.replace("door", "gate"))
    with pytest.raises(BuildError, match=r"a\.json changed while the build read it; build again"):
        list(read(folder, blocks[1], DEFAULT))
    path.write_text(data[:-9])
    with pytest.raises(BuildError, match=r"a\.json ends at byte \d+, its plan says"):
        list(read(folder, blocks[1], DEFAULT))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        list(read(folder, blocks[1], DEFAULT))


def test_an_origin_is_the_byte_range_of_the_record() -> None:
    data = json.dumps([DOOR, {"id": "ü"}], indent=2, ensure_ascii=False).encode()
    origins = [origin for _, origin in with_origins(data)]
    for origin, record in zip(origins, [DOOR, {"id": "ü"}], strict=True):
        offset, size = map(int, origin.removeprefix("chat.json#").split("+"))
        assert json.loads(data[offset : offset + size]) == record


TEXTS = st.text(st.sampled_from('ab"\\[]{},:\n é\ud83d😀<image>'), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
RECORDS = st.lists(
    VALUES
    | st.fixed_dictionaries(
        {"conversations": st.lists(st.fixed_dictionaries({"from": TEXTS, "value": TEXTS}))}
    )
    | st.fixed_dictionaries({"text": TEXTS, "image": st.sampled_from(["a", ["a", "b"]])}),
    max_size=8,
)


@settings(deadline=None, max_examples=300)
@given(
    records=RECORDS,
    indent=st.sampled_from([None, 0, 2]),
    rows=st.integers(1, 9),
    piece=st.integers(1, 40),
    lines=st.booleans(),
)
def test_any_split_into_blocks_and_pieces_gives_the_same_samples(
    records: list[Any], indent: int | None, rows: int, piece: int, lines: bool
) -> None:
    if lines:
        data = "".join('{"r": ' + json.dumps(record) + "}\n" for record in records).encode()
    else:
        data = json.dumps(records, indent=indent).encode()
    whole = with_origins(data)
    with patch.object(json_array, "PIECE_BYTES", piece):
        assert with_origins(data, rows=rows) == whole
    offsets = [tuple(map(int, origin.split("#")[1].split("+"))) for _, origin in whole]
    texts = [data[offset : offset + size] for offset, size in offsets]
    assert [json.loads(text) for text in texts] == (
        [{"r": record} for record in records] if lines else records
    )


@settings(deadline=None, max_examples=300)
@given(
    junk=st.lists(st.sampled_from([*b'"\\[]{},: a\n', 0xFF]), max_size=60).map(bytes),
    rows=st.integers(1, 5),
    piece=st.integers(1, 9),
)
def test_whatever_stands_in_an_array_is_dropped_or_named_and_any_split_is_the_same(
    junk: bytes, rows: int, piece: int
) -> None:
    data = b"[" + junk + b"]"

    def found(rows: int, piece: int) -> list[tuple[Sample, str]] | str:
        try:
            with patch.object(json_array, "PIECE_BYTES", piece):
                return with_origins(data, rows=rows)
        except RecipeError as error:
            return str(error).split("chat.json")[1]

    whole = found(1000, 1000)
    assert found(rows, piece) == whole
    assert isinstance(whole, str) or all(sample.drop for sample, _ in whole)


MEMORY = r"""
import json, sys
from pathlib import Path
from workers.sources.llava_json import LlavaJsonOptions, plan, read
from workers.storage.folder import folder_of

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024

folder = folder_of(Path(sys.argv[1]))
path = Path(sys.argv[1]) / "big.json"
turn = {"from": "human", "value": "a \" quoted [word], " * 80}
with path.open("w") as file:
    file.write("[")
    for number in range(1000):
        record = {"id": str(number), "conversations": [turn] * (100 if number % 2 else 120)}
        file.write(json.dumps(record, indent=1) + ",\n")
    for text in ["[" * 1000, "]" * 1000, ', {"text": "', "x" * 1000, '"}]']:
        for _ in range(20_000 if len(text) == 1000 else 1):
            file.write(text)
before = peak()
size = path.stat().st_size
blocks = plan(folder, "big.json", 4000)
drops = [sample.drop for block in blocks for sample, _ in read(folder, block, LlavaJsonOptions())]
print(size, len(drops), len([drop for drop in drops if drop]), peak() - before)
"""


@pytest.mark.slow
def test_a_huge_array_is_planned_and_read_in_little_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    size, rows, dropped, megabytes = map(int, run.stdout.split())
    assert size > 200_000_000
    assert (rows, dropped) == (1002, 2)
    assert megabytes < 50
