"""What every folder does alike."""

import io
import os
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from schemas.errors import BuildError, RecipeError
from workers.storage.folder import Folder, folder_of
from workers.storage.local import LocalFolder
from workers.storage.s3 import S3Folder


def test_what_is_written_is_read(folder: Folder) -> None:
    folder.write_whole("a/b.bin", b"0123456789")
    assert folder.read_whole("a/b.bin") == b"0123456789"
    assert folder.read("a/b.bin", 2, 3) == b"234"
    assert folder.read("a/b.bin", 8, 100) == b"89"
    assert folder.read("a/b.bin", 8, 1 << 50) == b"89"
    assert folder.read("a/b.bin", 10, 5) == b""
    assert folder.read_ranges("a/b.bin", [(7, 9), (0, 2), (1, 3), (4, 0), (99, 1)]) == [
        b"789",
        b"01",
        b"123",
        b"",
        b"",
    ]


def test_writing_again_replaces_and_changes_the_version(folder: Folder) -> None:
    folder.write_whole("a", b"one")
    before = folder.stat("a")
    folder.write_whole("a", b"other")
    after = folder.stat("a")
    assert before
    assert after
    assert (before.size, after.size) == (3, 5)
    assert before.version != after.version
    assert folder.read_whole("a") == b"other"


def test_an_empty_file_is_a_file(folder: Folder) -> None:
    folder.write_whole("empty", b"")
    found = folder.stat("empty")
    assert found
    assert found.size == 0
    assert folder.read_whole("empty") == b""
    assert folder.read("empty", 0, 10) == b""
    with folder.open("empty") as file:
        assert file.read() == b""


def test_the_list_is_recursive_sorted_and_without_files_being_written(folder: Folder) -> None:
    names = ["b/2", "b.txt", "b/10", "a", "é/ü.txt", "b/.hidden", "deep/er/still/x"]
    for name in [*names, "b/.2.17-aa.tmp", ".x.tmp"]:
        folder.write_whole(name, name.encode())
    found = folder.list()
    assert [name for name, _ in found] == sorted(names)
    assert all(folder.stat(name) == entry for name, entry in found)
    assert [name for name, _ in folder.list("b")] == ["b/.hidden", "b/10", "b/2"]
    assert folder.list("b") == folder.list("b/")
    assert folder.list("nothing/here") == []
    assert folder.list("b.txt") == []


def test_what_is_not_there_is_file_not_found(folder: Folder) -> None:
    folder.write_whole("there/x", b"x")
    for path in ("gone", "there", "there/", "there/x/y", "", "n" * 5000):
        assert folder.stat(path) is None, path
        for read in (folder.open, folder.read_whole):
            with pytest.raises(FileNotFoundError):
                read(path)
        with pytest.raises(FileNotFoundError):
            folder.read(path, 0, 1)
        with pytest.raises(FileNotFoundError):
            folder.read_ranges(path, [(0, 1), (5, 1)])


def test_only_the_first_creates(folder: Folder) -> None:
    folder.create("a/manifest", b"first")
    with pytest.raises(FileExistsError, match="a/manifest"):
        folder.create("a/manifest", b"second")
    assert folder.read_whole("a/manifest") == b"first"
    assert [name for name, _ in folder.list()] == ["a/manifest"]


def test_of_many_that_create_at_once_one_wins(folder: Folder) -> None:
    def create(number: int) -> bool:
        try:
            folder.create("pointer", b"%d" % number)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1
    assert folder.read_whole("pointer") == b"%d" % won.index(True)


def test_a_put_file_has_moved(folder: Folder, tmp_path: Path) -> None:
    data = os.urandom(40 << 20)  # S3: in parts
    (tmp_path / "shard.tar").write_bytes(data)
    folder.put(tmp_path / "shard.tar", "shards/1.tar")
    assert folder.read_whole("shards/1.tar") == data
    assert not (tmp_path / "shard.tar").exists()
    with pytest.raises(FileNotFoundError):
        folder.put(tmp_path / "shard.tar", "shards/1.tar")
    assert folder.read("shards/1.tar", (16 << 20) - 2, 4) == data[(16 << 20) - 2 : (16 << 20) + 2]


def test_deleting_twice_is_fine(folder: Folder) -> None:
    folder.write_whole("a/x", b"x")
    folder.delete("a/x")
    folder.delete("a/x")
    folder.delete("never/there")
    assert folder.list() == []


def test_no_path_leaves_the_folder(folder: Folder) -> None:
    for path in ("../x", "/etc/passwd", "a/../../x", "..", "a\0b", "\ud800"):
        for call in (folder.stat, folder.open, folder.read_whole, folder.delete, folder.list):
            with pytest.raises(BuildError, match="path"):
                call(path)
        with pytest.raises(BuildError, match="path"):
            folder.write_whole(path, b"")


def test_an_open_file_reads_as_local_files_do(folder: Folder) -> None:
    data = os.urandom(3 << 20) + b"one\ntwo\nthree"
    folder.write_whole("f", data)
    with folder.open("f") as file:
        assert file.read(5) == data[:5]
        assert file.seek(-5, os.SEEK_END) == len(data) - 5
        assert file.read() == b"three"
        assert file.read(1) == b""
        assert file.seek(len(data) - 9) == len(data) - 9
        assert file.readline() == b"two\n"
        assert file.seek(100) == 100
        assert file.seek(-50, os.SEEK_CUR) == 50
        assert file.read(2 << 20) == data[50 : 50 + (2 << 20)]
        assert file.tell() == 50 + (2 << 20)
        assert file.seek(1 << 40) == 1 << 40
        assert file.read(1) == b""
        file.seek(0)
        assert file.read() == data


def test_an_open_file_is_good_enough_for_tarfile(folder: Folder) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("a", "b"):
            member = tarfile.TarInfo(name)
            member.size = 2 << 20
            tar.addfile(member, io.BytesIO(name.encode() * member.size))
    folder.write_whole("x.tar", buffer.getvalue())
    with folder.open("x.tar") as file, tarfile.open(fileobj=file) as tar:
        assert tar.getnames() == ["a", "b"]
        found = tar.extractfile("b")
        assert found
        assert found.read() == b"b" * (2 << 20)


def test_a_folder_is_a_value(folder: Folder) -> None:
    folder.write_whole("x", b"x")
    again: Folder = pickle.loads(pickle.dumps(folder))
    assert again == folder
    assert hash(again) == hash(folder)
    assert again.read_whole("x") == b"x"
    assert b"a-secret" not in pickle.dumps(folder)


def test_folders_by_url(tmp_path: Path) -> None:
    assert folder_of(tmp_path) == LocalFolder(tmp_path)
    assert folder_of("some/where").url == str(Path.cwd() / "some/where")
    assert folder_of("s3://bucket/a/b/") == S3Folder("bucket", "a/b")
    assert folder_of("s3://bucket").url == "s3://bucket"
    with pytest.raises(RecipeError, match="gs://"):
        folder_of("gs://bucket/a")
    for url in ("s3://", "s3:///a", "s3://id:a-secret@bucket/a"):
        with pytest.raises(RecipeError, match="s3://bucket/prefix") as caught:
            folder_of(url)
        assert "a-secret" not in str(caught.value)
