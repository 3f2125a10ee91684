import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import BuildError
from workers.storage.local import LocalFolder


def test_a_local_folder_imports_nothing_of_s3(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from workers.storage.folder import folder_of\n"
        "from workers.storage.staging import Staging\n"
        f"folder = folder_of({str(tmp_path)!r})\n"
        "folder.write_whole('x', b'x'); folder.list(); folder.read_whole('x')\n"
        "folder_of('s3://bucket/x')\n"
        "print({'s3fs', 'fsspec', 'botocore', 'aiohttp'} & set(sys.modules))\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, check=True)
    assert done.stdout == b"set()\n"


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x").write_bytes(b"x")
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "disk").symlink_to(elsewhere)
    (root / "a/up").symlink_to(root)
    (root / "a/file").symlink_to(elsewhere / "x")
    (root / "a/broken").symlink_to(elsewhere / "nothing")
    (root / "a/self").symlink_to("self")
    folder = LocalFolder(root)
    assert [name for name, _ in folder.list()] == ["a/file", "disk/x"]
    assert folder.read_whole("disk/x") == b"x"
    assert folder.stat("a/broken") is None
    assert folder.stat("a/self") is None


def test_pipes_are_no_files_and_nobody_waits_for_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    folder = LocalFolder(tmp_path)
    assert folder.list() == []
    assert folder.stat("pipe") is None
    with pytest.raises(FileNotFoundError):
        folder.open("pipe")


def test_a_name_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
    with pytest.raises(BuildError, match=r"not UTF-8: 'caf"):
        LocalFolder(tmp_path).list()


def test_a_full_disk_names_the_file_and_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _buffers: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = LocalFolder(tmp_path)
    folder.write_whole("a", b"old")
    monkeypatch.setattr(os, "writev", full)
    with pytest.raises(OSError, match=r"No space left on device: .*a'"):
        folder.write_whole("a", b"new")
    with pytest.raises(OSError, match="No space left on device"):
        folder.create("b", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert folder.read_whole("a") == b"old"


def test_a_file_of_another_disk_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = LocalFolder(tmp_path / "out")
    source = tmp_path / "x"
    source.write_bytes(b"12345" * 5_000_000)
    replace = Path.replace

    def other_disk(path: Path, target: Path) -> Path:
        if path == source:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", other_disk)
    folder.put(source, "y")
    assert folder.read_whole("y") == b"12345" * 5_000_000
    assert not source.exists()
