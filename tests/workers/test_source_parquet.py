from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, Image, List, Value
from pydantic import ValidationError

from schemas.errors import BuildError, RecipeError, TransientError
from schemas.reasons import Reason
from tests.workers.memory import growth_mib
from tests.workers.tars import JPEG, PNG
from workers.sources.parquet import ParquetOptions, containers, plan, read, unpack
from workers.sources.sample import Sample
from workers.storage.folder import Stat, folder_of
from workers.storage.local import LocalFolder
from workers.survey import SurveySpec, survey

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ONE: dict[str, Any] = {"bytes": JPEG, "path": "17.jpg"}
TWO: dict[str, Any] = {"bytes": PNG, "path": None}


LISTS = pa.list_(IMAGE)
EMPTY: dict[str, Any] = {"bytes": None, "path": None}
NO_BYTES: dict[str, Any] = {"bytes": b"", "path": "x.jpg"}


def samples(path: Path, rows_per_block: int = 256, **options: Any) -> list[Sample]:
    """The samples of a file, media in containers checked to lie where they say."""
    folder, chosen = folder_of(path.parent), ParquetOptions.model_validate(options)
    found: list[Sample] = []
    for groups in containers(folder, path.name, rows_per_block, chosen):
        out = path.parent / "cache" / groups.name
        table = unpack(folder, groups, chosen, out)
        for block in plan(groups, rows_per_block):
            rows = list(read(table, block, chosen))
            assert [origin for _, origin in rows] == [
                f"{path.name}#row-{len(found) + i}" for i in range(block.rows)
            ]
            found += [sample for sample, _ in rows]
    return found


def of(folder: Path, columns: dict[str, Any], **options: Any) -> list[Sample]:
    path = folder / "t.parquet"
    pq.write_table(pa.table(columns), path)
    return samples(path, **options)


PLAIN: dict[str, Any] = {"compression": "none", "use_dictionary": False}
"""What `datasets` writes media with."""


def bytes_of(folder: Path, sample: Sample) -> list[bytes]:
    media = []
    for ref in sample.media:
        assert ref.span is not None
        copied = "@" in ref.path
        data = (folder / "cache" / ref.path if copied else folder / ref.path).read_bytes()
        assert len(data) >= sum(ref.span)
        media.append(data[ref.span[0] : sum(ref.span)])
    return media


def said(sample: Sample) -> str:
    """Turns in one line, media as {field}."""
    turns = []
    for turn in sample.turns:
        parts = (
            f"{{{sample.media[part.item].field.partition(': ')[2]}}}"
            if part.item >= 0
            else part.text
            for part in turn.parts
        )
        turns.append(f"{turn.role}: {''.join(parts)}")
    return re.sub(r"\{row \d+: ", "{", " | ".join(turns))


def images(*values: Any) -> pa.Array:
    return pa.array(values, IMAGE)


TALK = [{"from": "human", "value": "<image>\nSo?"}, {"from": "gpt", "value": "So."}]


def test_a_data_set_of_hugging_face_as_it_is_written(tmp_path: Path) -> None:
    content = {
        "id": ["a", "b"],
        "images": [[ONE, TWO], [TWO]],
        "conversations": [
            [{"from": "human", "value": "<image> and <image>?"}, TALK[1]],
            [TALK[0], TALK[1]],
        ],
    }
    turn = {"from": Value("string"), "value": Value("string")}
    features = {"id": Value("string"), "images": List(Image()), "conversations": List(turn)}
    path = tmp_path / "train.parquet"
    Dataset.from_dict(content, Features(features)).to_parquet(str(path))
    first, second = samples(path)
    assert first.sample_id == "a"
    assert said(first) == "user: {images[0]} and {images[1]}? | assistant: So."
    assert bytes_of(tmp_path, first) == [JPEG, PNG]
    assert said(second) == "user: {images[0]}\nSo? | assistant: So."
    ref = second.media[0]
    assert (ref.path, ref.field) == ("train.parquet", "row 1: images[0]")
    assert bytes_of(tmp_path, second) == [PNG]
    assert (tmp_path / "cache" / "train.parquet@0").stat().st_size == 0
    first, second = of(tmp_path, pq.read_table(path).to_pydict())  # as it was before version 4
    assert bytes_of(tmp_path, first) == [JPEG, PNG]
    assert (second.media[0].path, second.media[0].span) == (
        "t.parquet@0",
        (len(JPEG) + len(PNG), len(PNG)),
    )


FORMS: dict[str, tuple[Any, Any]] = {
    "struct": (images(ONE), [JPEG]),
    "list": (pa.array([[ONE, TWO]], pa.list_(IMAGE)), [JPEG, PNG]),
    "large list": (pa.array([[ONE, TWO]], pa.large_list(IMAGE)), [JPEG, PNG]),
    "fixed list": (pa.array([[ONE, TWO]], pa.list_(IMAGE, 2)), [JPEG, PNG]),
    "binary": (pa.array([JPEG]), [JPEG]),
    "large binary": (pa.array([JPEG], pa.large_binary()), [JPEG]),
    "binary view": (pa.array([JPEG], pa.binary_view()), [JPEG]),
    "binaries": (pa.array([[JPEG, PNG]]), [JPEG, PNG]),
    "bytes alone": (pa.array([{"bytes": JPEG}]), [JPEG]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_pictures(tmp_path: Path, form: str) -> None:
    column, expected = FORMS[form]
    [sample] = of(tmp_path, {"image": column, "text": ["A house."]})
    assert bytes_of(tmp_path, sample) == expected
    assert sample.turns[1].parts[0].text == "A house."


def test_pictures_by_path_lie_below_the_root(tmp_path: Path) -> None:
    inside, outside, absolute, url = of(
        tmp_path,
        {
            "image": ["a/./b.jpg", "../b.jpg", "/b.jpg", "http://x/b.jpg"],
            "caption": ["A.", "B.", "C.", "D."],
        },
    )
    (ref,) = inside.media
    assert (ref.path, ref.span) == ("a/b.jpg", None)
    for sample in (outside, absolute, url):
        assert sample.drop is Reason.PATH_OUTSIDE_ROOT
    assert outside.message == "t.parquet: row 1: image: leaves the root: '../b.jpg'"
    by_struct = images({"bytes": None, "path": "b.jpg"})
    [sample] = of(tmp_path, {"image": by_struct, "caption": ["A."]})
    assert sample.media[0].path == "b.jpg"
    [sample] = of(tmp_path, {"image": pa.array([["a.jpg", "b.jpg"]]), "caption": ["A."]})
    assert [ref.path for ref in sample.media] == ["a.jpg", "b.jpg"]


def test_conversations_of_every_form(tmp_path: Path) -> None:
    parts = [{"type": "image", "text": None}, {"type": "text", "text": "\nSo?"}]
    forms: list[tuple[str, Any]] = [
        ("conversations", [TALK]),
        ("conversations", [json.dumps(TALK)]),
        ("messages", [[{"role": "user", "content": parts}]]),
        ("messages", [[{"role": "user", "content": "So?"}]]),
        ("texts", [[{"user": "So?", "assistant": "So.", "source": "vqa"}]]),
    ]
    for name, column in forms:
        [sample] = of(tmp_path, {"image": images(ONE), name: column})
        assert said(sample).startswith("user: {image}\nSo?")


def test_columns_can_be_named(tmp_path: Path) -> None:
    columns = {
        "uid": [17],
        "before": images(ONE),
        "after": images(TWO),
        "clip": [b"film"],
        "q": ["So?"],
        "a": ["So."],
        "talk": [TALK],
        "image_path": ["x.jpg"],
    }
    options = {"images": ["after", "before"], "videos": ["clip"], "caption": "a", "id": "uid"}
    [sample] = of(tmp_path, columns, **options, question="q")
    assert sample.sample_id == "17"
    assert [ref.kind for ref in sample.media] == ["image", "image", "video"]
    assert bytes_of(tmp_path, sample) == [PNG, JPEG, b"film"]
    assert said(sample) == "user: {after}{before}{clip}\nSo? | assistant: So."
    [sample] = of(tmp_path, columns, images=["before"], conversations="talk")
    assert said(sample) == "user: {before}\nSo? | assistant: So."
    [sample] = of(tmp_path, columns, images=["image_path"], caption="a", prompt="What?")
    assert said(sample) == "user: {image_path}\nWhat? | assistant: So."
    with pytest.raises(ValidationError, match="exclude each other"):
        ParquetOptions(caption="a", conversations="b")


def test_numbered_columns_stand_in_order_and_may_be_null(tmp_path: Path) -> None:
    columns = {f"image_{n}": images(ONE if n != 2 else None) for n in (10, 1, 2)}
    [sample] = of(tmp_path, {**columns, "caption": ["A."]})
    assert said(sample) == "user: {image_1}{image_10} | assistant: A."


def test_which_pictures_are_meant_has_to_be_clear(tmp_path: Path) -> None:
    columns = {"image": images(ONE), "mask": images(TWO), "caption": ["A."]}
    assert said(of(tmp_path, columns)[0]) == "user: {image} | assistant: A."
    two = {"before": images(ONE), "after": images(TWO), "caption": ["A."]}
    with pytest.raises(RecipeError, match="images: which of before, after"):
        of(tmp_path, two)
    film = {"video": [b"film"], "caption": ["A."]}
    assert of(tmp_path, film)[0].media[0].kind == "video"


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no picture": ({"caption": ["A."], "n": [1]}, {}, "images: no column of pictures or videos"),
    "no text": ({"image": images(ONE)}, {}, "caption: no column of captions or conversations"),
    "named": ({"image": images(ONE)}, {"caption": "cap"}, "caption: no column 'cap'"),
    "named image": ({"image": images(ONE)}, {"images": ["img"]}, "images: no column 'img'"),
    "type": ({"image": [1], "caption": ["A."]}, {"images": ["image"]}, "holds int64, not pictures"),
    "text type": ({"image": images(ONE), "n": [1]}, {"caption": "n"}, "holds int64, not text"),
    "id type": (
        {"image": images(ONE), "caption": ["A."], "x": [0.5]},
        {"id": "x"},
        "id: column 'x' holds double, not text or whole numbers",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_without_the_columns_is_an_error_with_those_it_has(
    tmp_path: Path, case: str
) -> None:
    columns, options, message = WRONG[case]
    with pytest.raises(RecipeError) as caught:
        of(tmp_path, columns, **options)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}/t.parquet: ")
    assert message in text
    assert f"its columns: {next(iter(columns))}: " in text
    assert "\n" not in text


def test_text_alone_is_a_source_too(tmp_path: Path) -> None:
    talk = [{"from": "human", "value": "So?"}, TALK[1]]
    [sample] = of(tmp_path, {"conversations": [talk]})
    assert said(sample) == "user: So? | assistant: So."


def test_nulls_are_no_pictures_but_in_a_list_they_are_a_fault(tmp_path: Path) -> None:
    plain = [{"from": "human", "value": "So?"}, TALK[1]]
    empty = {"bytes": None, "path": None}
    found = of(
        tmp_path,
        {"image": images(None, None, empty, ONE), "conversations": [plain, TALK, plain, TALK]},
    )
    drops = [sample.drop for sample in found]
    assert drops == [None, Reason.MARKER_WITHOUT_MEDIA, None, None]
    captions = of(tmp_path, {"image": images(None, ONE), "caption": ["A.", None]})
    assert [sample.drop for sample in captions] == [Reason.MISSING_MEDIA, Reason.EMPTY_SAMPLE]
    lists = [[ONE, None], [ONE, empty], None, [], [ONE]]
    found = of(tmp_path, {"images": pa.array(lists, pa.list_(IMAGE)), "caption": ["A."] * 5})
    assert [sample.drop for sample in found] == [Reason.MISSING_MEDIA] * 4 + [None]
    assert found[1].message == "t.parquet: row 1: images[1]: null: neither bytes nor path"
    assert found[2].message == "t.parquet: row 2: text: a caption, but no picture or video"
    assert bytes_of(tmp_path, found[4]) == [JPEG]


IN_PLACE: dict[str, tuple[Any, bool]] = {
    "structs": (images(ONE, None, TWO, NO_BYTES), True),
    "lists": (pa.array([[ONE, TWO], None, [], [TWO, NO_BYTES, ONE]], LISTS), True),
    "a null in a list": (pa.array([[ONE, None], [TWO], [None], [ONE]], LISTS), True),
    "bytes are null": (images(ONE, EMPTY, TWO, {"bytes": None, "path": "y.jpg"}), False),
    "fixed lists": (pa.array([[ONE, TWO]] * 4, pa.list_(IMAGE, 2)), True),
    "no path": (pa.array([{"bytes": JPEG}] * 4), False),
    "binary": (pa.array([JPEG, None, PNG, b""]), False),
}


@pytest.mark.parametrize("page", ["1.0", "2.0"])
@pytest.mark.parametrize("form", IN_PLACE)
def test_pictures_that_stand_in_the_file_are_not_copied(
    tmp_path: Path, form: str, page: str
) -> None:
    column, stays = IN_PLACE[form]
    talk = [{"role": "user", "content": "So?"}, {"role": "assistant", "content": "So."}]
    rows = [row for _ in range(50) for row in column.to_pylist()]
    table = pa.table({"image": pa.array(rows, column.type), "messages": [talk] * len(rows)})
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, row_group_size=30)
    copied = samples(path)
    expected = [[] if s.drop else bytes_of(tmp_path, s) for s in copied if not by_path(s)]
    pq.write_table(
        table, path, 30, data_page_version=page, data_page_size=2000, write_batch_size=3, **PLAIN
    )
    found = samples(path)
    assert [[] if s.drop else bytes_of(tmp_path, s) for s in found if not by_path(s)] == expected
    assert [(s.drop, s.message) for s in found] == [(s.drop, s.message) for s in copied]
    inside = [ref.path == "t.parquet" for s in found if not by_path(s) for ref in s.media]
    assert len(inside) > 50
    assert set(inside) == {stays}
    sizes = {file.stat().st_size for file in (tmp_path / "cache").iterdir()}
    assert (sizes == {0}) is stays


def by_path(sample: Sample) -> bool:
    return any(ref.span is None for ref in sample.media)


def test_a_page_that_is_not_as_expected_is_copied(tmp_path: Path) -> None:
    column = images(*[ONE, TWO] * 20)
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"image": column, "caption": ["A."] * 40}), path, **PLAIN)
    data = path.read_bytes()
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(0)
    first, size = chunk.data_page_offset, chunk.total_compressed_size
    spans = set()
    for at in [*range(first, first + 60), first + size - len(PNG) - 4]:
        changed = bytearray(data)
        changed[at] ^= 0x15
        path.write_bytes(changed)
        found = samples(path)
        assert len(found) == 40
        spans.add(found[0].media[0].path if found[0].media else found[0].drop)
    assert {"t.parquet", Reason.DAMAGED_ARCHIVE} <= spans


def test_slices_and_null_lists_with_content_do_not_shift_the_rows(tmp_path: Path) -> None:
    values = pa.array([JPEG, PNG, b"3", b"4", b"5"])
    column = pa.ListArray.from_arrays(pa.array([0, 2, 3, 5]), values)
    mask = pa.array([False, True, False])
    masked = pa.ListArray.from_arrays(column.offsets, values, mask=mask)
    first, null, last = of(tmp_path, {"image": masked, "caption": ["A.", "B.", "C."]})
    assert bytes_of(tmp_path, first) == [JPEG, PNG]
    assert null.drop is Reason.MISSING_MEDIA
    assert bytes_of(tmp_path, last) == [b"4", b"5"]


@pytest.mark.parametrize("written", [{}, PLAIN], ids=["copied", "in place"])
def test_a_list_with_a_broken_picture_is_dropped_by_the_survey(
    tmp_path: Path, written: dict[str, Any]
) -> None:
    lists = [[ONE, TWO], [ONE, {"bytes": JPEG[:300], "path": None}], [NO_BYTES], [TWO]]
    table = pa.table({"images": pa.array(lists, LISTS), "caption": ["A."] * 4})
    pq.write_table(table, tmp_path / "t.parquet", **written)
    folder, options = folder_of(tmp_path), ParquetOptions()
    [groups] = containers(folder, "t.parquet", 256, options)
    rows = unpack(folder, groups, options, tmp_path / "cache")
    [block] = plan(groups, 256)
    spec = SurveySpec("s", folder, {groups.name: (folder, "cache")})
    surveyed, _ = survey(spec, read(rows, block, options))
    first, broken, empty, last = surveyed.to_pylist()
    assert [item["format"] for item in first["items"]] == ["jpeg", "png"]
    assert (first["origin"], last["drop"]) == ("t.parquet#row-0", None)
    assert (broken["drop"], empty["drop"]) == ("truncated", "empty_file")
    assert re.match(r"row 1: images\[1\]: t\.parquet(@0)? bytes \d+\+300: ", broken["message"])


def test_ids_come_from_the_data_or_from_the_row(tmp_path: Path) -> None:
    columns = {"image": images(ONE, ONE, ONE), "caption": ["A.", "B.", "C."]}
    named = of(tmp_path, {**columns, "id": ["x", None, "a\nb"]})
    assert [sample.sample_id for sample in named] == ["x", "t-1", "t-2"]
    assert [sample.drop for sample in named] == [None, None, Reason.BAD_RECORD]
    lists = pa.array([[ONE], [None], [ONE]], LISTS)
    found = of(tmp_path, {"images": lists, "caption": columns["caption"], "id": ["x", "y", "z"]})
    assert [sample.sample_id for sample in found] == ["x", "y", "z"]  # y is dropped
    assert [s.sample_id for s in of(tmp_path, {**columns, "id": [7, 8, 9]}, id="")] == [
        "t-0",
        "t-1",
        "t-2",
    ]


def test_text_that_cannot_be_used_drops_its_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.sources.parquet_rows.MAX_TEXT_BYTES", 300_000)
    texts = [b"[" * 200_000, b"{", b"\xe4", b"x" * 300_001, b'[{"from": "me"}]', b'"\\ud800"']
    column = pa.array([*texts, json.dumps(TALK).encode()]).view(pa.string())
    found = of(tmp_path, {"image": images(*[ONE] * 7), "conversations": column})
    assert [sample.drop for sample in found] == [Reason.BAD_RECORD] * 6 + [None]
    assert [(sample.message or "").partition("conversations")[2] for sample in found[:4]] == [
        ": not JSON: nested too deeply",
        ": not JSON: Expecting property name enclosed in double quotes at line 1 column 2",
        ": not UTF-8: unexpected end of data",
        ": 300001 bytes, over the limit of 16777216",
    ]


def test_a_picture_over_the_limit_is_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.sources.parquet_media.MAX_IMAGE_BYTES", 10_000)
    huge, good = of(
        tmp_path, {"image": images({"bytes": bytes(10_001)}, ONE), "caption": ["A.", "B."]}
    )
    assert huge.drop is Reason.TOO_MANY_BYTES
    assert (tmp_path / "cache" / "t.parquet@0").read_bytes() == JPEG
    assert good.drop is None


def test_a_container_over_its_limit_stops_the_build(tmp_path: Path) -> None:
    columns = {"image": images(*[ONE] * 20), "caption": ["A."] * 20}
    with pytest.raises(BuildError, match=r"t\.parquet: .* limit of 10000 bytes \(max_unpacked"):
        of(tmp_path, columns, max_unpacked_bytes=10_000)
    assert list((tmp_path / "cache").iterdir()) == []


def numbered(path: Path, rows: int, group: int) -> None:
    column = images(*({"bytes": b"%d" % n * 100, "path": None} for n in range(rows)))
    table = pa.table({"image": column, "caption": [f"It is {n}." for n in range(rows)]})
    pq.write_table(table, path, row_group_size=group)


@pytest.mark.parametrize("group", [1, 10, 64, 1000])
def test_row_groups_and_blocks_of_any_size_give_the_same_samples(
    tmp_path: Path, group: int
) -> None:
    path = tmp_path / "t.parquet"
    numbered(path, 150, group)
    for rows_per_block in (1, 16, 256):
        found = samples(path, rows_per_block)
        assert [sample.sample_id for sample in found] == [f"t-{n}" for n in range(150)]
        for number in (0, 77, 149):
            assert bytes_of(tmp_path, found[number]) == [b"%d" % number * 100]


def test_small_row_groups_share_a_container_and_big_ones_are_cut_into_blocks(
    tmp_path: Path,
) -> None:
    path, folder, options = tmp_path / "t.parquet", folder_of(tmp_path), ParquetOptions()
    numbered(path, 400, 10)
    found = containers(folder, "t.parquet", 40, options)
    assert [(one.name, one.first_row, one.rows) for one in found] == [
        ("t.parquet@0", 0, 160),
        ("t.parquet@16", 160, 160),
        ("t.parquet@32", 320, 80),
    ]
    numbered(path, 250, 170)
    big, small = containers(folder, "t.parquet", 40, options)
    assert [block.rows for block in plan(big, 40)] == [42, 43, 42, 43]
    assert [(block.start, block.end, block.first_row) for block in plan(small, 50)] == [
        (0, 40, 170),
        (40, 80, 210),
    ]
    assert [block.rows for block in plan(small, 60)] == [80]


def test_files_without_rows_have_no_blocks(tmp_path: Path) -> None:
    assert of(tmp_path, {"image": images(), "caption": pa.array([], pa.string())}) == []


def test_what_is_no_parquet_is_a_clear_error(tmp_path: Path) -> None:
    numbered(tmp_path / "whole.parquet", 10, 5)
    whole = (tmp_path / "whole.parquet").read_bytes()
    for data in (b"", b"PAR1", b"hello" * 100, whole[:-50]):
        path = tmp_path / "t.parquet"
        path.write_bytes(data)
        with pytest.raises(RecipeError, match=r"/t\.parquet: not a Parquet file: .") as caught:
            samples(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(RecipeError, match=r"none\.parquet: no such file"):
        samples(tmp_path / "none.parquet")


def test_damage_in_a_row_group_costs_its_rows_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    noise = random.Random(0)
    column = images(*({"bytes": noise.randbytes(3000), "path": None} for _ in range(60)))
    table = pa.table({"image": column, "caption": [f"It is {n}." for n in range(60)]})
    pq.write_table(table, path, row_group_size=20, use_dictionary=False)
    whole = samples(path)
    data = bytearray(path.read_bytes())
    meta = pq.ParquetFile(path).metadata.row_group(1).column(0)
    start = meta.data_page_offset
    data[start : start + 20] = b"\xff" * 20  # the header of a page
    path.write_bytes(data)
    found = samples(path)
    drops = [sample.drop for sample in found]
    assert drops[:20] == drops[40:] == [None] * 20
    assert drops[20:40] == [Reason.DAMAGED_ARCHIVE] * 20
    assert found[:20] == whole[:20]
    assert "t.parquet: row 20: row group 1 cannot be read" in (found[20].message or "")
    assert [len(bytes_of(tmp_path, sample)[0]) for sample in found[40:]] == [3000] * 20


def test_any_changed_byte_leaves_samples_or_reasons_or_an_error(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    numbered(path, 40, 10)
    data = path.read_bytes()
    chance = random.Random(4)
    for _ in range(60):
        changed = bytearray(data)
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        try:
            found = samples(path)
        except (RecipeError, BuildError):
            continue
        assert all(sample.message for sample in found if sample.drop)


class Failing(LocalFolder):
    """A folder whose disk fails after so many reads."""

    error: Exception

    def open(self, path: str, seen: Stat | None = None) -> BinaryIO:
        file = LocalFolder.open(self, path, seen)
        return FailingFile(file)  # type: ignore[return-value]


class FailingFile:
    error: Exception = OSError(5, "Input/output error")
    good_reads = 6

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._reads = file, 0
        self.seek, self.tell, self.close = file.seek, file.tell, file.close
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        self._reads += 1
        if self._reads > self.good_reads:
            raise self.error
        return self._file.read(size)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), TransientError("s3: slow")])
def test_a_failing_disk_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    numbered(tmp_path / "t.parquet", 40, 10)
    monkeypatch.setattr(FailingFile, "error", error)
    folder, options = Failing(tmp_path), ParquetOptions()
    [groups] = containers(LocalFolder(tmp_path), "t.parquet", 256, options)
    with pytest.raises(type(error)):
        unpack(folder, groups, options, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_options_that_shape_what_is_unpacked() -> None:
    one = ParquetOptions(prompt="What?", without_text="keep", roles={"bot": "assistant"})
    assert one.columns == ParquetOptions().columns
    assert ParquetOptions(caption="a").columns != ParquetOptions().columns


UNPACK = """
from pathlib import Path
from workers.sources.parquet import ParquetOptions, containers, unpack
from workers.storage.folder import Stat, folder_of
folder, options = folder_of({root!r}), ParquetOptions()
[groups] = containers(folder, {name!r}, 256, options)
"""
TO_FILE = "assert len(unpack(folder, groups, options, Path({out!r}))) == 1000"


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["snappy", "none"])
def test_memory_does_not_grow_with_the_row_group(tmp_path: Path, compression: str) -> None:
    data = random.Random(0).randbytes(300_000)
    column = images(*({"bytes": data[n:], "path": None} for n in range(1000)))
    table = pa.table({"image": column, "caption": ["A."] * 1000})
    path, out = tmp_path / "t.parquet", tmp_path / "out"
    pq.write_table(
        table,
        path,
        row_group_size=1 << 20,
        write_batch_size=16,
        compression=compression,
        use_dictionary=False,
    )
    setup = UNPACK.format(root=str(tmp_path), name="t.parquet")
    assert growth_mib(setup, TO_FILE.format(out=str(out))) < 130  # of 300 MB
    assert out.stat().st_size == (sum(range(299_001, 300_001)) if compression == "snappy" else 0)
