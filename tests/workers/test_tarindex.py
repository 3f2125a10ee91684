from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from schemas.reasons import Reason
from workers.faults import Fault
from workers.media_files import MediaFiles
from workers.tarindex import BLOCK, DamagedTarError, TarIndex, walk

Members = Iterable[tuple[str, bytes]]

LONG = "folder/" * 30 + "ä" * 60 + ".jpg"
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def tar(members: Members, kind: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def indexed(path: Path, data: bytes) -> TarIndex:
    path.write_bytes(data)
    with MediaFiles(path.parent) as files:
        return files.index(path.name)


def signed(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:BLOCK])
    return bytes(header)


@pytest.mark.parametrize("kind", FORMATS)
def test_members_are_where_tarfile_finds_them(tmp_path: Path, kind: int) -> None:
    names = ["a.jpg", "d/" * 60 + "b.jpg", "./c.jpg"]
    names += [] if kind == tarfile.USTAR_FORMAT else [LONG]
    data = tar([(name, name.encode() * 50) for name in names] + [("empty", b"")], kind)
    index = indexed(tmp_path / "t.tar", data)
    assert index.damage is None
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = {m.name.removeprefix("./"): (m.offset_data, m.size) for m in archive}
    assert index.members == expected


def test_links_devices_and_folders_are_no_members(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            entry = tarfile.TarInfo("x")
            entry.type, entry.linkname, entry.size = kind, "/etc/passwd", 700
            archive.addfile(entry)
        entry = tarfile.TarInfo("file")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"abc"))
    index = indexed(tmp_path / "t.tar", buffer.getvalue())
    assert list(index.members) == ["file"]
    assert index.damage is None


def test_a_walk_gives_members_of_every_kind_and_names_the_one_that_is_cut_off() -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "a"
    data = link.tobuf() + tar([("a", b"x" * 600), ("b", b"y" * 600)])
    cut = data[: 4 * BLOCK + BLOCK + 100]
    with pytest.raises(DamagedTarError, match="the file ends after 100") as caught:
        list(walk(lambda size, offset: cut[offset : offset + size], len(cut)))
    assert (caught.value.name, caught.value.offset) == (b"b", 4 * BLOCK)
    found = list(walk(lambda size, offset: data[offset : offset + size], len(data)))
    assert [(entry.name, entry.is_file, entry.header, entry.size) for entry in found] == [
        (b"link", False, 0, 0),
        (b"a", True, BLOCK, 600),
        (b"b", True, 4 * BLOCK, 600),
    ]


def test_sizes_in_base_256_and_in_pax_records_are_read(tmp_path: Path) -> None:
    header = bytearray(tar([("a", b"xyz")])[:BLOCK])
    header[124:136] = b"\x80" + (3).to_bytes(11, "big")
    body = b"xyz".ljust(BLOCK, b"\0") + bytes(2 * BLOCK)
    index = indexed(tmp_path / "t.tar", signed(header) + body)
    assert index.members == {"a": (BLOCK, 3)}

    pax = tarfile.TarInfo("a")
    pax.pax_headers = {"size": "3", "comment": "any"}
    header[124:136] = b"00000000000\0"
    data = pax.tobuf(tarfile.PAX_FORMAT)[: 2 * BLOCK] + signed(header) + body
    assert indexed(tmp_path / "p.tar", data).members == {"a": (3 * BLOCK, 3)}


def test_a_sparse_file_is_passed_over(tmp_path: Path) -> None:
    sparse = tarfile.TarInfo("a")
    sparse.size, sparse.pax_headers = 3, {"GNU.sparse.map": "0,3", "GNU.sparse.size": "9"}
    body = b"xyz".ljust(BLOCK, b"\0")
    data = sparse.tobuf(tarfile.PAX_FORMAT) + body + tar([("b", b"1")])
    index = indexed(tmp_path / "t.tar", data)
    assert list(index.members) == ["b"]


def test_the_first_of_one_name_counts_and_is_noted(tmp_path: Path) -> None:
    index = indexed(tmp_path / "t.tar", tar([("a", b"1"), ("b", b"2"), ("a", b"33")]))
    assert index.members["a"] == (BLOCK, 1)
    assert index.repeated == frozenset({"a"})


DAMAGES = {
    "a header's checksum": lambda data: data[: 2 * BLOCK + 3] + b"!" + data[2 * BLOCK + 4 :],
    "a zeroed header": lambda data: data[: 2 * BLOCK] + bytes(BLOCK) + data[3 * BLOCK :],
    "after the end mark": lambda data: data[: 2 * BLOCK] + bytes(2 * BLOCK) + data[2 * BLOCK :],
    "no end mark": lambda data: data[: 2 * BLOCK],
    "a header is cut off": lambda data: data[: 2 * BLOCK + 100],
    "the file ends after 200": lambda data: data[: 3 * BLOCK + 200],
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_kept_with_its_place_and_members_before_it_stay(
    tmp_path: Path, what: str
) -> None:
    data = DAMAGES[what](tar([("a", b"x" * 300), ("b", b"y" * 300)]))
    path = tmp_path / "t.tar"
    index = indexed(path, data)
    assert list(index.members) == ["a"]
    assert index.damage is not None
    assert what in index.damage.what
    assert index.damage.offset == 2 * BLOCK
    with MediaFiles(tmp_path) as files:
        assert files.read("t.tar", *files.locate("t.tar", "a")) == b"x" * 300
        with pytest.raises(Fault, match=f"t.tar: damaged at byte {2 * BLOCK}") as caught:
            files.locate("t.tar", "b")
    assert caught.value.reason is Reason.DAMAGED_ARCHIVE


def test_a_file_that_is_no_tar_is_damaged_from_the_start(tmp_path: Path) -> None:
    for data in (b"", b"\x1f\x8b" + bytes(900), b"hello " * 200):
        index = indexed(tmp_path / "t.tar", data)
        assert not index.members
        assert index.damage is not None
        assert index.damage.offset == 0


def test_hostile_extended_headers_end_the_scan(tmp_path: Path) -> None:
    def with_pax(records: bytes) -> bytes:
        header = bytearray(tar([("x", b"")])[:BLOCK])
        header[124:136] = b"%011o\0" % len(records)
        header[156:157] = b"x"
        padding = bytes(-len(records) % BLOCK)
        return signed(header) + records + padding + tar([("a", b"1")])

    for records in (b"xyz", b"0 a=b\n", b"999 a=b\n", b"-5 a=b\n", b"5", b"10 a=b\nnosp"):
        assert indexed(tmp_path / "t.tar", with_pax(records)).damage is not None
    for size in (b"-1", b"9" * 30, b"1_0"):
        record = b"size=" + size + b"\n"
        record = b"%d %s" % (len(record) + 3, record)
        assert indexed(tmp_path / "t.tar", with_pax(record)).damage is not None
    many = b"5 a=\n" * 200_000  # linear, not quadratic
    assert list(indexed(tmp_path / "t.tar", with_pax(many)).members) == ["a"]
    too_long = bytearray(tar([("x", b"")])[:BLOCK])
    too_long[156:157], too_long[124:136] = b"L", b"\x80" + b"\xff" * 11
    assert indexed(tmp_path / "t.tar", signed(too_long)).damage is not None


def test_changed_bytes_never_lead_outside_the_file(tmp_path: Path) -> None:
    chance = random.Random(0)
    whole = [tar([("a", b"1" * 600), ("d/" * 60 + "b", b"2")], kind) for kind in FORMATS]
    for _ in range(300):
        data = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.choice((0, 48, 55, 128, 255))
        for begin in range(0, len(data), BLOCK):
            if data[begin + 257 : begin + 262] == b"ustar":
                data[begin : begin + BLOCK] = signed(data[begin : begin + BLOCK])
        index = indexed(tmp_path / "t.tar", bytes(data))
        for offset, size in index.members.values():
            assert 0 <= offset <= offset + size <= len(data)
