"""A remote folder that is looked at by listings."""

from __future__ import annotations

import pickle
from pathlib import Path

from tests.workers.storage.faulty_proxy import FaultyProxy, upload
from workers.storage.local import LocalFolder
from workers.storage.s3 import S3Folder
from workers.storage.snapshot import Snapshot, forget, snapshot


def fill(s3: S3Folder, proxy: FaultyProxy, folder: str, count: int) -> list[str]:
    upload(proxy, f"{s3.bucket}/{s3.prefix}/{folder}/%d", *[b"x" * n for n in range(count)])
    return [f"{folder}/{number}" for number in range(count)]


def test_a_local_folder_is_itself(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    assert snapshot(folder) is folder
    forget(folder)


def test_many_questions_are_few_requests(s3: S3Folder, proxy: FaultyProxy) -> None:
    names = fill(s3, proxy, "a", 50)
    seen = snapshot(s3)
    assert [seen.stat(name) for name in names] == [s3.stat(name) for name in names]
    assert proxy.requests == {"HEAD": 4 + 50, "GET": 1}
    proxy.reset()
    assert all(seen.stat(name) for name in names)
    assert seen.stat("a/none") is None
    assert seen.stat("a/deep/none") is None
    assert proxy.requests == {}


def test_a_few_questions_list_nothing(s3: S3Folder, proxy: FaultyProxy) -> None:
    fill(s3, proxy, "a", 50)
    seen = snapshot(s3)
    for name in ("a/3", "a/3", "a/4", "b/5"):
        seen.stat(name)
    assert proxy.requests == {"HEAD": 3}


def test_many_small_folders_are_listed_together(s3: S3Folder, proxy: FaultyProxy) -> None:
    names = [name for n in range(100) for name in fill(s3, proxy, f"a/{n}", 4)]
    seen = snapshot(s3)
    assert all(seen.stat(name) for name in names)
    assert proxy.requests == {"HEAD": 256, "GET": 1}


def test_what_was_listed_is_known(s3: S3Folder, proxy: FaultyProxy) -> None:
    names = fill(s3, proxy, "a", 5)
    seen = snapshot(s3)
    listing = seen.list()
    assert listing == s3.list()
    assert [(name, seen.stat(name)) for name in names] == listing
    assert seen.stat("b/0") is None
    assert proxy.requests == {"GET": 2}


def test_what_is_written_is_asked_for_anew(
    s3: S3Folder, proxy: FaultyProxy, tmp_path: Path
) -> None:
    fill(s3, proxy, "a", 5)
    seen = snapshot(s3)
    seen.list()
    seen.write_whole("a/1", b"longer than before")
    seen.create("a/new", b"12")
    (tmp_path / "file").write_bytes(b"123")
    seen.put(tmp_path / "file", "a/2")
    seen.delete("a/3")
    sizes = [(seen.stat(f"a/{name}"), s3.stat(f"a/{name}")) for name in ("1", "new", "2", "3", "4")]
    assert all(one == other for one, other in sizes)
    assert seen.stat("a/3") is None


def test_what_others_write_shows_after_forget(s3: S3Folder, proxy: FaultyProxy) -> None:
    fill(s3, proxy, "a", 5)
    seen = snapshot(s3)
    seen.list()
    s3.write_whole("a/9", b"other")
    s3.write_whole("a/1", b"other")
    before = seen.stat("a/1")
    assert before
    assert before.size == 1
    assert seen.stat("a/9") is None
    forget(seen)
    assert seen.stat("a/1") == s3.stat("a/1")
    assert seen.stat("a/9")


def test_what_lies_elsewhere_is_not_forgotten(s3: S3Folder, proxy: FaultyProxy) -> None:
    fill(s3, proxy, "a", 5)
    fill(s3, proxy, "b", 5)
    seen = snapshot(s3)
    for folder in ("a", "b"):
        seen.list(folder)
    s3.write_whole("a/9", b"other")
    s3.write_whole("b/9", b"other")
    forget(seen, "a")
    assert seen.stat("a/9")
    assert seen.stat("b/9") is None
    seen.list()
    s3.delete("a/9")
    forget(seen, "a")
    assert seen.stat("a/9") is None
    proxy.reset()
    assert seen.stat("b/9")
    assert proxy.requests == {}


def test_what_is_known_is_not_asked_for(s3: S3Folder, proxy: FaultyProxy) -> None:
    [first, *_] = fill(s3, proxy, "a", 5)
    found = s3.stat(first)
    assert found
    proxy.reset()
    assert snapshot(s3, {first: found}).stat(first) == found
    assert proxy.requests == {}


def test_another_process_gets_the_folder_alone(s3: S3Folder) -> None:
    seen = snapshot(s3)
    assert isinstance(seen, Snapshot)
    assert pickle.loads(pickle.dumps(seen)) == s3
    assert seen.url == s3.url


def test_it_reads_as_the_folder_does(s3: S3Folder) -> None:
    seen = snapshot(s3)
    seen.write_whole("x", b"0123456789")
    found = seen.stat("x")
    assert seen.read("x", 2, 3) == b"234"
    assert seen.read_ranges("x", [(1, 1), (3, 2)], found) == [b"1", b"34"]
    assert seen.read_whole("x") == b"0123456789"
    with seen.open("x", found) as file:
        assert file.read(4) == b"0123"
    assert seen.drafts() == []
