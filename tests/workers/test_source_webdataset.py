from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest
import webdataset as wds
from pydantic import ValidationError

from schemas.errors import BuildError, RecipeError
from schemas.reasons import Reason
from tests.workers.memory import growth_mib
from tests.workers.tars import JPEG, PNG, js, of, pair, samples, shown, special, tar_bytes
from workers.sources import gunzip
from workers.sources.sample import Sample
from workers.sources.tar_members import index
from workers.sources.webdataset import WebdatasetOptions, plan, read
from workers.storage.folder import folder_of
from workers.survey import SurveySpec, survey

BLOCK = 512


def one(folder: Path, *members: tuple[str, bytes], **options: Any) -> Sample:
    [sample] = of(folder, members, **options)
    return sample


def dropped(sample: Sample) -> tuple[Reason | None, str]:
    assert not sample.turns
    assert not sample.media
    return sample.drop, sample.message or ""


def test_an_img2dataset_tar_as_it_writes_it(tmp_path: Path) -> None:
    meta = {"url": "http://x/1.jpg", "caption": "A house.", "key": "000000001", "similarity": None}
    path = tmp_path / "00000.tar"
    with wds.TarWriter(str(path)) as writer:
        for number in range(3):
            sample = {"__key__": f"{number:09d}", "jpg": JPEG, "txt": "A house.", "json": meta}
            writer.write(sample)
    first, *_ = found = samples(path)
    assert [sample.sample_id for sample in found] == [f"00000/{n:09d}" for n in range(3)]
    assert shown(first) == "user: {000000000.jpg} | assistant: A house."
    (image,) = first.media
    assert (image.kind, image.path, image.field) == ("image", "00000.tar", "jpg")
    assert image.span is not None
    offset, size = image.span
    assert path.read_bytes()[offset : offset + size] == JPEG


@pytest.mark.parametrize(
    "kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=str
)
def test_long_names_of_every_tar_format(tmp_path: Path, kind: int) -> None:
    folder = "folder/" * 12 + "v1.0/"
    folder = folder if kind == tarfile.USTAR_FORMAT else folder * 3 + "ä" * 70
    path = tmp_path / "t.tar"
    path.write_bytes(tar_bytes(pair(f"{folder}000"), kind))
    [sample] = samples(path)
    assert sample.sample_id == f"t/{folder}000"
    assert sample.media[0].member == f"{folder}000.jpg"


def test_samples_are_what_the_library_webdataset_gives(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    members = [*pair("a/b.c/000"), *pair("./001"), ("_.txt", b"?"), *pair("002.x")[:1]]
    members += [("__index__", b"1"), (".hidden.jpg", JPEG), ("README", b"r")]
    path.write_bytes(tar_bytes(members))
    theirs = [sample["__key__"] for sample in wds.WebDataset(str(path), shardshuffle=False)]
    ours = samples(path, id="key")
    assert [sample.sample_id for sample in ours] == [key.removeprefix("./") for key in theirs]
    assert [sample.drop for sample in ours[:2]] == [None, None]
    assert of(tmp_path, [("d/._3.jpg", JPEG)]) == []  # of macOS; the library makes a sample of it


def test_pictures_with_numbers_stand_in_their_order(tmp_path: Path) -> None:
    pictures = [("7.10.jpg", JPEG), ("7.2.png", PNG), ("7.0.JPG", JPEG), ("7.mask.png", PNG)]
    sample = one(tmp_path, *pictures, ("7.txt", b"Three."))
    assert shown(sample) == "user: {7.0.JPG}{7.2.png}{7.10.jpg} | assistant: Three."
    named = [("7.img1.jpg", JPEG), ("7.img0.jpg", JPEG), ("7.mask0.png", PNG), ("7.txt", b"Two.")]
    assert shown(one(tmp_path, *named)) == "user: {7.img0.jpg}{7.img1.jpg} | assistant: Two."
    chosen = one(tmp_path, *named, media=["mask0.png", "img1.jpg"])
    assert shown(chosen) == "user: {7.mask0.png}{7.img1.jpg} | assistant: Two."


def test_which_picture_is_meant_has_to_be_clear(tmp_path: Path) -> None:
    members = [("7.jpg", JPEG), ("7.png", PNG), ("7.txt", b"One.")]
    reason, message = dropped(one(tmp_path, *members))
    assert reason is Reason.BAD_RECORD
    assert message == "t.tar: '7': media: is it jpg or png? media = […] names them"
    assert shown(one(tmp_path, *members, media=["png"])) == "user: {7.png} | assistant: One."
    with pytest.raises(ValidationError, match="'cls' ends in no extension"):
        WebdatasetOptions(media=("cls",))


def test_videos_are_media_too(tmp_path: Path) -> None:
    sample = one(tmp_path, ("7.mp4", b"film"), ("7.caption", b"\xef\xbb\xbfIt moves.\r\n"))
    assert shown(sample) == "user: {7.mp4} | assistant: It moves."
    assert sample.media[0].kind == "video"
    said = js({"conversations": [{"from": "human", "value": "<image>\nSo?"}]})
    assert one(tmp_path, ("7.webm", b"film"), ("7.json", said)).media[0].kind == "video"


CONVERSATION = [
    {"from": "human", "value": "<image>\nSo?"},
    {"from": "gpt", "value": "So."},
]
AS_CHAT = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "\nSo?"}]},
    {"role": "assistant", "content": "So."},
]
FORMS = {
    "llava": {"conversations": CONVERSATION},
    "root": CONVERSATION,
    "messages": {"messages": AS_CHAT, "caption": "no"},
    "turns": {"turns": [{"role": "user", "text": "<image>\nSo?"}, AS_CHAT[1]]},
    "pairs": {"texts": [{"user": "So?", "assistant": "So.", "source": "x"}]},
    "implied": {"messages": [{"role": "human", "content": "So?"}, AS_CHAT[1]]},
}


@pytest.mark.parametrize("form", FORMS)
def test_conversations_in_the_json(tmp_path: Path, form: str) -> None:
    sample = one(tmp_path, ("7.jpg", JPEG), ("7.txt", b"no"), ("7.json", js(FORMS[form])))
    assert shown(sample) == "user: {7.jpg}\nSo? | assistant: So."


def test_where_text_is_can_be_said(tmp_path: Path) -> None:
    meta = js({"caption": "A.", "blip": "B.", "q": "So?", "talk": CONVERSATION, "uid": 17})
    members = [("7.jpg", JPEG), ("7.txt", b" C. \n"), ("7.alt", b"D."), ("7.json", meta)]
    said = {
        "A.": {"caption": "json:caption"},
        "B.": {"caption": "json:blip", "prompt": "", "id": "json:uid"},
        "C.": {},
        "D.": {"caption": "ALT"},
    }
    for caption, options in said.items():
        assert (
            shown(one(tmp_path, *members, **options)) == f"user: {{7.jpg}} | assistant: {caption}"
        )
    assert one(tmp_path, *members, id="json:uid").sample_id == "17"
    assert one(tmp_path, *members, id="json:no").sample_id == "t/7"
    asked = one(tmp_path, *members, question="json:q", prompt="not this")
    assert shown(asked) == "user: {7.jpg}\nSo? | assistant: C."
    asked = one(tmp_path, *members, prompt="Look: <image> What?")
    assert shown(asked) == "user: Look: {7.jpg} What? | assistant: C."
    talk = one(tmp_path, *members, conversations="json:talk")
    assert shown(talk) == "user: {7.jpg}\nSo? | assistant: So."
    with pytest.raises(ValidationError, match="exclude each other"):
        WebdatasetOptions(caption="txt", conversations="json:talk")


def test_roles_of_other_names_and_answers_that_come_first(tmp_path: Path) -> None:
    talk = [{"role": "bot", "content": "Hello."}, {"role": "Q", "content": "So?"}]
    members = [("7.jpg", JPEG), ("7.json", js([*talk, {"role": "bot", "content": "So."}]))]
    roles = {"bot": "assistant", "Q": "user"}
    skipped = one(tmp_path, *members, roles=roles, leading_answer="skip")
    assert shown(skipped) == "user: {7.jpg}\nSo? | assistant: So."
    reason, message = dropped(one(tmp_path, *members, roles=roles))
    assert reason is Reason.BAD_RECORD
    assert "the assistant speaks first" in message
    assert "found 'bot'" in dropped(one(tmp_path, *members))[1]


def test_samples_without_text_are_dropped_or_kept_without_an_answer(tmp_path: Path) -> None:
    for members in ([("7.jpg", JPEG)], [("7.jpg", JPEG), ("7.txt", b" \n")]):
        assert dropped(one(tmp_path, *members))[0] is Reason.EMPTY_SAMPLE
        kept = one(tmp_path, *members, without_text="keep", prompt="What?")
        assert shown(kept) == "user: {7.jpg}\nWhat?"
    assert dropped(one(tmp_path, ("7.cls", b"3"), without_text="keep"))[0] is Reason.EMPTY_SAMPLE


def test_a_conversation_needs_no_media_but_a_caption_does(tmp_path: Path) -> None:
    talk = js([{"role": "user", "content": "So?"}, {"role": "assistant", "content": "So."}])
    assert shown(one(tmp_path, ("7.json", talk))) == "user: So? | assistant: So."
    reason, message = dropped(one(tmp_path, ("7.txt", b"A house.")))
    assert reason is Reason.MISSING_MEDIA
    assert message == "t.tar: '7': txt: a caption, but no picture or video"


BAD_JSON = {
    "depth": (b"[" * 200_000, "nested too deeply"),
    "cut": (b'{"a": ', "not JSON: Expecting value"),
    "latin": (b'{"a": "\xe4"}', "not UTF-8"),
    "half": (b'{"caption": "\\ud800"}', "not UTF-8: surrogates"),
    "digits": (b'{"a": ' + b"9" * 5000 + b"}", "not JSON: Exceeds the limit"),
    "number": (js([1]), r"json[0]: expected an object, found a number"),
    "turn": (js([{"who": "me"}]), "json[0]: expected from and value"),
    "text": (js([{"role": "user"}]), "json[0].text: expected a text, found nothing"),
    "order": (
        js([{"role": "user", "content": [{"type": "image", "index": 1}]}]),
        "media stand in order, expected 0, found 1",
    ),
}


@pytest.mark.parametrize("what", BAD_JSON)
def test_bad_json_drops_its_own_sample(tmp_path: Path, what: str) -> None:
    data, message = BAD_JSON[what]
    bad, good = of(tmp_path, [("7.jpg", JPEG), ("7.json", data), *pair("8")])
    assert dropped(bad)[0] is Reason.BAD_RECORD
    assert message in dropped(bad)[1]
    assert good.drop is None


def test_metadata_may_hold_nan(tmp_path: Path) -> None:
    members = [*pair("7", "A house."), ("7.json", b'{"similarity": NaN}')]
    assert shown(one(tmp_path, *members)) == "user: {7.jpg} | assistant: A house."


MARKERS = {
    "<image> and <image>": Reason.MARKER_WITHOUT_MEDIA,
    "<image> and <video>": Reason.MARKER_WITHOUT_MEDIA,
}


@pytest.mark.parametrize("text", MARKERS)
def test_markers_and_media_have_to_agree(tmp_path: Path, text: str) -> None:
    talk = js([{"role": "user", "content": text}])
    assert dropped(one(tmp_path, ("7.jpg", JPEG), ("7.json", talk)))[0] is MARKERS[text]
    reason, message = dropped(one(tmp_path, ("7.jpg", JPEG), ("7.txt", text.encode())))
    assert reason is Reason.MARKER_WITHOUT_MEDIA
    assert "marks no medium in an answer" in message


def test_more_media_than_markers(tmp_path: Path) -> None:
    members = [("7.0.jpg", JPEG), ("7.1.jpg", JPEG), ("7.json", js(CONVERSATION))]
    assert dropped(one(tmp_path, *members))[0] is Reason.MEDIA_WITHOUT_MARKER


def test_text_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.sources.webdataset.MAX_TEXT_BYTES", 100)
    long, good = of(tmp_path, [("7.jpg", JPEG), ("7.txt", b"x" * 101), *pair("8")])
    assert dropped(long)[0] is Reason.BAD_RECORD
    assert "7.txt: 101 bytes, over the limit" in dropped(long)[1]
    assert good.drop is None


def test_members_in_any_order_make_the_same_samples(tmp_path: Path) -> None:
    members = [member for key in ("a", "b", "c") for member in pair(key)]
    in_order = [shown(sample) for sample in of(tmp_path, members)]
    for seed in range(5):
        mixed = random.Random(seed).sample(members, len(members))
        assert sorted(shown(sample) for sample in of(tmp_path, mixed)) == in_order
    interleaved = [members[i] for i in (0, 2, 4, 5, 3, 1)]
    assert [shown(sample) for sample in of(tmp_path, interleaved)] == in_order


def test_of_a_key_that_comes_again_the_first_counts(tmp_path: Path) -> None:
    first, again, other = of(tmp_path, [*pair("a", "One."), *pair("a", "Two."), *pair("b")])
    assert shown(first) == "user: {a.jpg} | assistant: One."
    assert dropped(again) == (
        Reason.DUPLICATE_ID,
        f"t.tar: 'a': a.jpg comes again at byte {first_header(tmp_path, 2)}; the first counts",
    )
    assert other.drop is None
    found = of(tmp_path, [*pair("a"), ("a.JPG", PNG)])  # the same extension to webdataset
    assert [sample.drop for sample in found] == [None, Reason.DUPLICATE_ID]


def first_header(folder: Path, member: int) -> int:
    with tarfile.open(folder / "t.tar") as archive:
        return archive.getmembers()[member].offset


def test_names_are_keys_and_never_paths(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    root = tmp_path / "root"
    root.mkdir()
    found = of(root, [*pair("../secret", "Up."), *pair("/etc/passwd", "Root.")])
    assert [sample.sample_id for sample in found] == ["t/../secret", "t//etc/passwd"]
    assert [sample.turns[1].parts[0].text for sample in found] == ["Up.", "Root."]
    assert {sample.media[0].path for sample in found} == {"t.tar"}


def test_names_that_are_not_utf8_or_have_control_characters(tmp_path: Path) -> None:
    data = tar_bytes([*pair("aXb", "A."), *pair("cYd"), *pair("e")]).replace(b"cYd", b"c\x07d")
    path = tmp_path / "t.tar"
    path.write_bytes(resigned(data.replace(b"aXb", b"a\xffb")))
    odd, control, good = samples(path)
    assert odd.sample_id == "t/a\\xffb"
    assert odd.media[0].member == "a\\xffb.jpg"
    assert dropped(control)[0] is Reason.BAD_RECORD
    assert (control.sample_id, good.drop) == ("t-2", None)


def resigned(data: bytes) -> bytes:
    """The same with the checksums that its headers should have."""
    out = bytearray(data)
    for at in range(0, len(out), BLOCK):
        if out[at + 257 : at + 262] == b"ustar":
            out[at + 148 : at + 156] = b" " * 8
            out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + BLOCK])
    return bytes(out)


SPECIALS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


@pytest.mark.parametrize("kind", SPECIALS)
def test_links_and_devices_drop_the_sample_that_needs_them(tmp_path: Path, kind: bytes) -> None:
    members: list[tuple[str, bytes | tarfile.TarInfo]] = [
        ("a.jpg", special(kind, "/etc/passwd")),
        ("a.txt", b"A."),
        *pair("b"),
        ("b.cls", special(kind, "b.jpg")),
        ("c.jpg", JPEG),
        ("c.txt", special(kind, "b.txt")),
        ("d", special(tarfile.DIRTYPE)),
        ("LICENSE", special(kind, "x")),
    ]
    a, b, c = of(tmp_path, members)
    assert dropped(a) == (
        Reason.MISSING_MEDIA,
        f"t.tar: 'a': a.jpg at byte 0 is {SPECIALS[kind]}, no file",
    )
    assert shown(b) == "user: {b.jpg} | assistant: It is b."
    assert f"is {SPECIALS[kind]}" in dropped(c)[1]


def test_a_half_written_last_member_drops_its_sample_alone(tmp_path: Path) -> None:
    data = tar_bytes([*pair("a"), *pair("b"), *pair("c")])
    path = tmp_path / "t.tar"
    for member in ("c.jpg", "c.txt"):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            entry = archive.getmember(member)
        path.write_bytes(data[: entry.offset_data + 5])
        a, b, c = samples(path)
        assert (a.drop, b.drop) == (None, None)
        reason, message = dropped(c)
        assert reason is Reason.DAMAGED_ARCHIVE
        assert c.sample_id == "t/c"
        assert f"t.tar: damaged at byte {entry.offset} (a member of {entry.size} bytes" in message


def test_a_cut_between_members_is_no_end(tmp_path: Path) -> None:
    data = tar_bytes([*pair("a"), *pair("b"), *pair("c")])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        starts = {entry.name: entry.offset for entry in archive}
    path = tmp_path / "t.tar"
    path.write_bytes(data[: starts["c.jpg"]])
    a, b, lost = samples(path)
    assert (a.drop, b.drop) == (None, None)
    assert lost.sample_id == f"t/damaged-at-{starts['c.jpg']}"
    assert dropped(lost)[0] is Reason.DAMAGED_ARCHIVE
    path.write_bytes(data[: starts["c.txt"]])  # c may lack its caption, or whatever else
    a, b, half = samples(path, without_text="keep")
    assert (a.drop, b.drop, half.sample_id) == (None, None, "t/c")
    assert f"damaged at byte {starts['c.txt']} (no end mark" in dropped(half)[1]


def test_what_lies_behind_a_damaged_header_is_lost_with_a_reason(tmp_path: Path) -> None:
    data = bytearray(tar_bytes([*pair("a"), *pair("b"), *pair("c")]))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        place = archive.getmember("b.jpg").offset
    data[place + 3] ^= 1
    path = tmp_path / "t.tar"
    path.write_bytes(data)
    a, lost = samples(path)
    assert a.drop is None
    assert dropped(lost)[0] is Reason.DAMAGED_ARCHIVE
    assert f"damaged at byte {place} (a header's checksum" in dropped(lost)[1]


def test_any_cut_and_any_changed_byte_leaves_samples_or_reasons(tmp_path: Path) -> None:
    data = tar_bytes([m for key in "abcde" for m in pair(key, media=JPEG[:700])])
    whole = {sample.sample_id: shown(sample) for sample in of_bytes(tmp_path, data)}
    chance = random.Random(1)
    for _ in range(150):
        changed = bytearray(data[: chance.randrange(BLOCK, len(data))])
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        try:
            found = of_bytes(tmp_path, bytes(changed))
        except RecipeError:
            continue  # the first header
        kept = [sample for sample in found if sample.drop is None]
        texts = sum(shown(sample) != whole.get(sample.sample_id) for sample in kept)
        assert texts <= 1  # a changed byte of a caption or name; nothing is mixed up


def of_bytes(folder: Path, data: bytes) -> list[Sample]:
    path = folder / "t.tar"
    path.write_bytes(data)
    return samples(path)


def test_what_is_no_tar_is_a_clear_error(tmp_path: Path) -> None:
    for data in (b"", b"hello " * 200, JPEG):
        with pytest.raises(RecipeError, match=r"/t\.tar: not a tar: "):
            of_bytes(tmp_path, data)
    with pytest.raises(RecipeError, match=r"it is compressed: name it \.tar\.gz"):
        of_bytes(tmp_path, gzip.compress(tar_bytes(pair("a")) + os.urandom(1000)))
    with pytest.raises(RecipeError, match=r"none\.tar: no such file"):
        samples(tmp_path / "none.tar")
    assert of_bytes(tmp_path, tar_bytes([])) == []


def test_blocks_of_any_size_give_the_same_samples(tmp_path: Path) -> None:
    members = [m for number in range(25) for m in pair(f"{number:03d}")]
    random.Random(3).shuffle(members)
    path = tmp_path / "t.tar"
    data = tar_bytes([*members, ("x\x07.txt", b"?"), *pair("003", "Again.")])
    path.write_bytes(data[: data.index(b"Again.")])
    whole = samples(path)
    assert {sample.drop for sample in whole} >= {None, Reason.DUPLICATE_ID, Reason.DAMAGED_ARCHIVE}
    for size in (1, 2, 7, 26, 27):
        assert samples(path, size) == whole


def test_the_survey_measures_media_by_their_ranges(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    members = [*pair("a"), *pair("b", media=JPEG[:500]), *pair("c", media=PNG), *pair("c")]
    path.write_bytes(tar_bytes([*members, ("b.png", b"")]))
    folder = folder_of(tmp_path)
    table = index(folder, "t.tar")
    [block] = plan(table, "t.tar", 10)
    samples_read = read(folder, block, WebdatasetOptions(media=("jpg",)), table)
    surveyed, inputs = survey(SurveySpec("s", folder, {}), samples_read)
    rows = surveyed.to_pylist()
    assert [row["drop"] for row in rows] == [None, "truncated", None, "duplicate_id"]
    (item,) = rows[0]["items"]
    assert (item["path"], item["member"], item["offset"]) == ("t.tar", "a.jpg", BLOCK)
    assert rows[0]["origin"] == f"t.tar#{BLOCK}+{len(JPEG)}"
    assert "jpg: t.tar member 'b.jpg' bytes" in rows[1]["message"]
    assert [one.path for one in inputs] == ["t.tar"]


def test_reading_takes_the_text_alone_and_sees_a_changed_file(tmp_path: Path) -> None:
    path = tmp_path / "t.tar"
    path.write_bytes(tar_bytes([*pair("a"), *pair("b")]))
    folder = folder_of(tmp_path)
    table = index(folder, "t.tar")
    [block] = plan(table, "t.tar", 10)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BuildError, match=r"t\.tar changed while"):
        list(read(folder, block, WebdatasetOptions(), table))


def test_a_compressed_tar_is_unpacked_to_ranges(tmp_path: Path) -> None:
    data = tar_bytes([*pair("a"), *pair("b")])
    compressed = gzip.compress(data[:3000]) + gzip.compress(data[3000:]) + bytes(512)
    (tmp_path / "t.tar.gz").write_bytes(compressed)
    folder = folder_of(tmp_path)
    gunzip.unpack(folder, "t.tar.gz", tmp_path / "cache" / "17.tar", 1 << 20)
    assert (tmp_path / "cache" / "17.tar").read_bytes() == data
    found = samples(tmp_path / "t.tar.gz", at="cache/17.tar")
    assert [sample.sample_id for sample in found] == ["t/a", "t/b"]
    assert {sample.media[0].path for sample in found} == {"t.tar.gz"}
    assert gunzip.is_compressed("x/t.tgz")
    assert not gunzip.is_compressed("x/t.tar")


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_compressed_tar_that_is_cut_off_keeps_what_came_before(
    tmp_path: Path, keep: float
) -> None:
    noise = random.Random(0)
    members = [m for key in "abcdef" for m in pair(key, media=noise.randbytes(60_000))]
    data = gzip.compress(tar_bytes(members))
    (tmp_path / "t.tar.gz").write_bytes(data[: int(len(data) * keep)])
    gunzip.unpack(folder_of(tmp_path), "t.tar.gz", tmp_path / "out.tar", 1 << 30)
    *kept, lost = samples(tmp_path / "t.tar.gz", at="out.tar")
    assert len(kept) == int(6 * keep)
    assert {sample.drop for sample in kept} == {None}
    assert lost.drop is Reason.DAMAGED_ARCHIVE


def test_compressed_tars_that_cannot_be_trusted_are_refused(tmp_path: Path) -> None:
    folder, out = folder_of(tmp_path), tmp_path / "out.tar"
    data = bytearray(gzip.compress(tar_bytes(pair("a"))))
    data[-6] ^= 1
    (tmp_path / "sum.tgz").write_bytes(data)
    (tmp_path / "plain.tgz").write_bytes(tar_bytes(pair("a")))
    (tmp_path / "bomb.tgz").write_bytes(gzip.compress(bytes(100 << 20)))
    with pytest.raises(BuildError, match=r"sum\.tgz: its checksum is wrong"):
        gunzip.unpack(folder, "sum.tgz", out, 1 << 40)
    with pytest.raises(RecipeError, match=r"plain\.tgz: not gzip-compressed"):
        gunzip.unpack(folder, "plain.tgz", out, 1 << 40)
    with pytest.raises(BuildError, match=r"bomb\.tgz: .* a decompression bomb"):
        gunzip.unpack(folder, "bomb.tgz", out, 1 << 40)
    with pytest.raises(BuildError, match=r"bomb\.tgz: .*the limit \(max_unpacked_bytes\)"):
        gunzip.unpack(folder, "bomb.tgz", out, 1 << 20)
    with pytest.raises(RecipeError, match=r"none\.tgz: no such file"):
        gunzip.unpack(folder, "none.tgz", out, 1 << 40)
    assert not list(tmp_path.glob("*out*"))


SETUP = """
from pathlib import Path
from workers.sources import gunzip
from workers.sources.webdataset import WebdatasetOptions, index, plan, read
from workers.storage.folder import folder_of
folder = folder_of({root!r})
"""
READ_ALL = """
table = index(folder, "t.tar")
count = 0
for block in plan(table, "t.tar", 256):
    for sample, _ in read(folder, block, WebdatasetOptions(), table):
        assert sample.drop is None, sample.message
        count += 1
assert count == {count}
"""


def write_large(path: Path, samples: int, image_bytes: int, text_bytes: int) -> None:
    """A tar whose pictures are holes."""
    with path.open("wb") as file:
        for number in range(samples):
            for extension, size in (("jpg", image_bytes), ("txt", text_bytes)):
                entry = tarfile.TarInfo(f"{number:06d}.{extension}")
                entry.size = size
                file.write(entry.tobuf(tarfile.USTAR_FORMAT))
                if extension == "txt":
                    file.write(b"x" * size)
                    file.seek(-size % BLOCK, os.SEEK_CUR)
                else:
                    file.seek(size + -size % BLOCK, os.SEEK_CUR)
        file.write(bytes(2 * BLOCK))


@pytest.mark.slow
def test_memory_grows_with_neither_the_tar_nor_its_text(tmp_path: Path) -> None:
    setup = SETUP.format(root=str(tmp_path))
    write_large(tmp_path / "t.tar", samples=4000, image_bytes=1 << 20, text_bytes=100)
    assert growth_mib(setup, READ_ALL.format(count=4000)) < 40  # of 4 GB
    write_large(tmp_path / "t.tar", samples=50, image_bytes=10, text_bytes=5 << 20)
    assert growth_mib(setup, READ_ALL.format(count=50)) < 60  # of 250 MB in one block


@pytest.mark.slow
def test_unpacking_takes_little_memory(tmp_path: Path) -> None:
    data = random.Random(0).randbytes(1 << 20)
    with gzip.open(tmp_path / "t.tar.gz", "wb", compresslevel=0) as file:
        for _ in range(200):
            file.write(data)
    code = f"gunzip.unpack(folder, 't.tar.gz', Path({str(tmp_path)!r}) / 'out', 1 << 40)"
    assert growth_mib(SETUP.format(root=str(tmp_path)), code) < 20
    assert (tmp_path / "out").stat().st_size == 200 << 20
