"""Media on any kind of folder: what a build reads of them is the same."""

from __future__ import annotations

import os

import pytest

from examples.demo_records import tar_of
from schemas.reasons import Reason
from workers.faults import Fault
from workers.media_files import Input, MediaFiles
from workers.storage.folder import Folder


def test_files_members_and_ranges_are_read(folder: Folder) -> None:
    folder.write_whole("d/a.bin", b"0123456789")
    folder.write_whole("t.tar", tar_of({"x": b"x" * 700, "m": b"member"}))
    with MediaFiles(folder) as files:
        assert files.locate("d/a.bin", "") == (0, 10)
        assert files.read("d/a.bin", 2, 3) == b"234"
        assert files.read("t.tar", *files.locate("t.tar", "m")) == b"member"
        with pytest.raises(Fault, match=r"d/a.bin bytes 8\+5: the file ends after 2") as caught:
            files.read("d/a.bin", 8, 5)
        assert caught.value.reason is Reason.TRUNCATED
        file = files.open_range("d/a.bin", 2, 5)
    assert file.seek(-2, os.SEEK_END) == 3
    assert file.read() == b"56"
    file.close()


def test_inputs_have_the_versions_of_the_folder(folder: Folder) -> None:
    folder.write_whole("a.bin", b"0123")
    with MediaFiles(folder) as files:
        files.read("a.bin", 0, 1)
        with pytest.raises(Fault, match=r"b\.bin: No such file") as caught:
            files.locate("b.bin", "")
        assert caught.value.reason is Reason.MISSING_MEDIA
    found = folder.stat("a.bin")
    assert found is not None
    assert files.inputs == {
        "a.bin": Input("a.bin", 4, found.version),
        "b.bin": Input("b.bin", -1, ""),
    }


def test_a_stand_in_may_lie_on_another_folder(folder: Folder) -> None:
    folder.write_whole("cache/u.tar", tar_of({"m": b"unpacked"}))
    folder.write_whole("t.tgz", b"compressed")
    with MediaFiles(folder, {"t.tgz": (folder, "cache/u.tar")}) as files:
        assert files.read("t.tgz", *files.locate("t.tgz", "m")) == b"unpacked"
        assert not files.inputs
