"""Local folders for files on their way."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workers.storage.drafts import draft_folder

ROOT = Path(__file__).parents[3]

SCRIPT = """
import sys, time
from pathlib import Path
from workers.storage.drafts import draft_folder

with draft_folder(Path(sys.argv[1])) as made:
    (made / "file").write_bytes(b"half")
    print(made, flush=True)
    time.sleep(60)
"""


def test_a_draft_is_gone_afterwards(tmp_path: Path) -> None:
    with draft_folder(tmp_path / "drafts") as one, draft_folder(tmp_path / "drafts") as other:
        (one / "file").write_bytes(b"x")
        assert other.is_dir()
        assert one != other
    assert list((tmp_path / "drafts").iterdir()) == []


def fails(place: Path) -> None:
    with draft_folder(place) as made:
        (made / "file").write_bytes(b"x")
        raise ValueError


def test_a_draft_is_gone_after_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        fails(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_no_other(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    children = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    made = [Path(child.stdout.readline().strip()) for child in children if child.stdout]
    try:
        children[0].send_signal(signal.SIGKILL)
        children[0].wait()
        assert all(folder.is_dir() for folder in made)
        with draft_folder(tmp_path) as mine:
            assert mine.is_dir()
            assert [folder.is_dir() for folder in made] == [False, True]
    finally:
        children[1].kill()
        children[1].wait()
