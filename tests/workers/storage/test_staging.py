import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import BuildError, TransientError
from tests.workers.storage.big_object import BIG
from tests.workers.storage.faulty_proxy import FaultyProxy, Spoiled
from workers.storage.entries import Stat
from workers.storage.local import LocalFolder
from workers.storage.s3 import S3Folder
from workers.storage.staging import Staging

MIB = 1 << 20
ROOT = Path(__file__).parents[3]


def copies(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".lock-")]


def test_a_local_file_is_itself(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "source")
    folder.write_whole("a/x", b"x")
    with Staging(tmp_path / "staging", 100) as staging:
        assert staging.local(folder, "a/x") == tmp_path / "source/a/x"
        with pytest.raises(FileNotFoundError, match="a/y"):
            staging.local(folder, "a/y")
    assert not (tmp_path / "staging").exists()


def test_a_copy_is_made_once_in_few_requests(
    big: S3Folder, proxy: FaultyProxy, tmp_path: Path
) -> None:
    with Staging(tmp_path, 100 * MIB) as staging:
        copy = staging.local(big, "big")
        assert copy.read_bytes() == BIG
        assert staging.local(big, "big") == copy
        above = replace(big, prefix="")
        assert staging.local(above, "shared/big") == copy
    assert proxy.requests["GET"] <= len(BIG) / (8 * MIB)
    assert proxy.body_bytes["GET"] == len(BIG)
    proxy.reset()
    with Staging(tmp_path, 100 * MIB) as another:
        assert another.local(big, "big") == copy
    assert proxy.requests == {"HEAD": 1}


def test_an_empty_file_has_a_copy(s3: S3Folder, tmp_path: Path) -> None:
    s3.write_whole("empty", b"")
    with Staging(tmp_path, 0) as staging:
        assert staging.local(s3, "empty").read_bytes() == b""


def test_what_was_used_least_recently_makes_room(s3: S3Folder, tmp_path: Path) -> None:
    for name in "abcd":
        s3.write_whole(name, name.encode() * 1000)
    (tmp_path / "not ours").write_bytes(bytes(5000))
    with Staging(tmp_path, 2500) as staging:
        a, b = (staging.local(s3, name) for name in "ab")
        assert staging.local(s3, "a") == a
        c = staging.local(s3, "c")
        assert (a.exists(), b.exists(), c.exists()) == (True, False, True)
    with Staging(tmp_path, 2500) as another:
        another.local(s3, "a")
        time.sleep(0.02)
        d = another.local(s3, "d")
        assert (a.exists(), c.exists(), d.exists()) == (True, False, True)
        assert d.read_bytes() == b"d" * 1000
    assert (tmp_path / "not ours").exists()


def test_what_another_uses_stays_and_what_is_open_is_readable(s3: S3Folder, tmp_path: Path) -> None:
    for name in "abc":
        s3.write_whole(name, name.encode() * 1000)
    with Staging(tmp_path, 1000) as one, Staging(tmp_path, 1000) as other:
        a = one.local(s3, "a")
        b = other.local(s3, "b")
        assert a.exists()
        with b.open("rb") as file:
            c = other.local(s3, "c")
            assert (a.exists(), b.exists(), c.exists()) == (True, False, True)
            assert file.read() == b"b" * 1000
        one.close()
        b = other.local(s3, "b")
        assert copies(tmp_path) == [b]


def test_what_is_larger_than_the_budget_is_an_error(s3: S3Folder, tmp_path: Path) -> None:
    s3.write_whole("a", bytes(1001))
    with (
        Staging(tmp_path, 1000) as staging,
        pytest.raises(BuildError, match=r"prefix/a: 1001 bytes are over .* 1000"),
    ):
        staging.local(s3, "a")
    assert copies(tmp_path) == []


def test_a_changed_object_is_a_new_copy(s3: S3Folder, tmp_path: Path) -> None:
    s3.write_whole("a", b"old")
    with Staging(tmp_path, 1000) as staging:
        old = staging.local(s3, "a")
        s3.write_whole("a", b"new")
        assert staging.local(s3, "a") == old  # one version for one user
    with Staging(tmp_path, 1000) as staging:
        new = staging.local(s3, "a")
    assert (old.read_bytes(), new.read_bytes()) == (b"old", b"new")


class Changing(S3Folder):
    """A folder whose files change before they are read."""

    def read_ranges(
        self, path: str, ranges: Sequence[tuple[int, int]], seen: Stat | None = None
    ) -> list[bytes]:
        self.write_whole(path, os.urandom(1000))
        return super().read_ranges(path, ranges, seen)


def test_an_object_that_changes_before_it_is_copied_is_an_error(
    s3: S3Folder, tmp_path: Path
) -> None:
    s3.write_whole("a", bytes(1000))
    with (
        Staging(tmp_path, 1000) as staging,
        pytest.raises(BuildError, match="prefix/a changed while"),
    ):
        staging.local(Changing(s3.bucket, s3.prefix, s3.retry), "a")
    assert copies(tmp_path) == []


def test_a_full_disk_names_the_copy_and_leaves_nothing(
    s3: S3Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _buffers: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    s3.write_whole("a", bytes(1000))
    with Staging(tmp_path, 1000) as staging:
        monkeypatch.setattr(os, "writev", full)
        with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/.*staged'"):
            staging.local(s3, "a")
        assert copies(tmp_path) == []
        monkeypatch.undo()


def test_a_fault_of_the_server_leaves_nothing(
    s3: S3Folder, proxy: FaultyProxy, tmp_path: Path
) -> None:
    s3.write_whole("a", bytes(1000))
    proxy.always = Spoiled("truncate", methods="GET")
    quick = replace(s3, retry=replace(s3.retry, total_s=0.3))
    with Staging(tmp_path, 1000) as staging:
        with pytest.raises(TransientError, match="prefix/a: "):
            staging.local(quick, "a")
        assert copies(tmp_path) == []
        proxy.always = None
        assert staging.local(s3, "a").read_bytes() == bytes(1000)


SCRIPT = """
import sys
from pathlib import Path
from workers.storage.folder import folder_of
from workers.storage.staging import Staging

with Staging(Path(sys.argv[1]), 100 << 20) as staging:
    print(staging.local(folder_of(sys.argv[2]), sys.argv[3]), flush=True)
"""


def process(staging: Path, folder: S3Folder, path: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "always", "-c", SCRIPT, str(staging), folder.url, path]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def test_processes_share_one_fetch(big: S3Folder, proxy: FaultyProxy, tmp_path: Path) -> None:
    both = [process(tmp_path, big, "big") for _ in range(2)]
    results = [child.communicate(timeout=120) for child in both]
    assert {error for _, error in results} == {""}
    [path] = {Path(output.strip()) for output, _ in results}
    assert path.read_bytes() == BIG
    assert proxy.body_bytes["GET"] == len(BIG)


def test_what_a_killed_process_left_is_fetched_again_and_removed(
    big: S3Folder, proxy: FaultyProxy, tmp_path: Path
) -> None:
    proxy.always = Spoiled("stall_in_body", seconds=60, methods="GET")
    child = process(tmp_path, big, "big")
    while not (tmp_path.exists() and any(path.stat().st_size for path in copies(tmp_path))):
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    proxy.reset()
    [left] = copies(tmp_path)
    assert left.name.endswith(".tmp")
    with Staging(tmp_path, len(BIG)) as staging:
        copy = staging.local(big, "big")
        assert copy.read_bytes() == BIG
    assert copies(tmp_path) == [copy]
