from __future__ import annotations

import os
from pathlib import Path

import pytest

from examples.demo_records import tar_of
from schemas.reasons import Reason
from workers.faults import Fault
from workers.media_files import MAX_OPEN_FILES, MAX_TAR_INDEXES, Input, MediaFiles
from workers.storage.folder import folder_of


def reason(files: MediaFiles, path: str, member: str = "") -> Reason:
    with pytest.raises(Fault) as caught:
        files.locate(path, member)
    return caught.value.reason


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_ranges_of_files_and_members_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"0123456789")
    (tmp_path / "t.tar").write_bytes(tar_of({"m": b"member"}))
    with MediaFiles(tmp_path) as files:
        assert files.locate("a.bin", "") == (0, 10)
        assert files.read("a.bin", 2, 3) == b"234"
        assert files.read("t.tar", *files.locate("t.tar", "m")) == b"member"
        with pytest.raises(Fault, match=r"a.bin bytes 8\+5: the file ends after 2") as caught:
            files.read("a.bin", 8, 5)
        assert caught.value.reason is Reason.TRUNCATED


def test_what_is_no_file_is_missing_and_never_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"x")
    (tmp_path / "t.tar").write_bytes(tar_of({"m": b"member"}))
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    with MediaFiles(tmp_path) as files:
        for path in ("b.bin", "a.bin/b", "x" * 300, "loop", "pipe", "."):
            assert reason(files, path) is Reason.MISSING_MEDIA
        assert reason(files, "t.tar", "other") is Reason.MISSING_MEDIA
        assert reason(files, "none.tar", "m") is Reason.MISSING_MEDIA


def test_inputs_tell_a_change_and_a_missing_file_that_appears(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"0123")
    os.utime(path, ns=(5, 7))
    with MediaFiles(tmp_path) as files:
        files.read("a.bin", 0, 1)
        reason(files, "b.bin")
        assert files.inputs == {
            "a.bin": Input("a.bin", 4, "7"),
            "b.bin": Input("b.bin", -1, ""),
        }


def test_a_stand_in_is_read_in_place_of_a_file_and_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "u.tar").write_bytes(tar_of({"m": b"unpacked"}))
    (tmp_path / "t.tgz").write_bytes(b"compressed")
    cache = folder_of(tmp_path / "cache")
    with MediaFiles(tmp_path, {"t.tgz": (cache, "u.tar"), "u.tgz": (cache, "lost")}) as files:
        assert files.read("t.tgz", *files.locate("t.tgz", "m")) == b"unpacked"
        assert not files.inputs
        assert reason(files, "u.tgz", "m") is Reason.MISSING_MEDIA
        assert files.inputs == {"u.tgz": Input("u.tgz", -1, "")}


def test_few_files_stay_open(tmp_path: Path) -> None:
    names = [f"{number}.tar" for number in range(MAX_OPEN_FILES + MAX_TAR_INDEXES)]
    for name in names:
        (tmp_path / name).write_bytes(tar_of({"m": name.encode()}))
    before = open_files()
    with MediaFiles(tmp_path) as files:
        for name in names * 2:
            assert files.read(name, *files.locate(name, "m")) == name.encode()
        assert open_files() == before + MAX_OPEN_FILES
    assert open_files() == before


def test_a_range_is_a_seekable_file(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"0123456789")
    with MediaFiles(tmp_path) as files:
        file = files.open_range("a.bin", 2, 5)
    assert file.read(2) == b"23"
    assert file.tell() == 2
    assert file.read() == b"456"
    assert file.read(4) == b""
    assert file.seek(-2, os.SEEK_END) == 3
    assert file.read(100) == b"56"
    assert file.seek(-9, os.SEEK_CUR) == 0
    assert file.seek(100) == 100
    assert file.read(1) == b""
    file.close()
