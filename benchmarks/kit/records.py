"""img2dataset-style tars (`.jpg` beside `.txt`) as our `records`."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.durable import write_whole


@dataclass(frozen=True)
class Entry:
    """One sample of a tar: the member of its picture, and its caption."""

    key: str
    member: str
    caption: str


def tars_of(pattern: str) -> list[Path]:
    """The tars that a pattern such as `DIR/*.tar` names, in order."""
    path = Path(pattern).absolute()
    tars = sorted(path.parent.glob(path.name))
    if not tars:
        raise SystemExit(f"no file matches {pattern}")
    return tars


def records_for(tars: Sequence[Path], out: Path, count: int | None = None) -> int:
    """Write the records of tars that lie in one folder, at most `count`; how many there are.

    Each shows its picture, then says the caption. Hard links of one tar are read once.
    """
    known: dict[int, list[Entry]] = {}
    lines: list[str] = []
    for tar in tars:
        inode = tar.stat().st_ino
        if inode not in known:
            known[inode] = list(_entries(tar))
        lines += [_record(tar, entry) for entry in known[inode]]
    chosen = lines[:count]
    write_whole(out, "".join(chosen).encode())
    return len(chosen)


def _record(tar: Path, entry: Entry) -> str:
    picture = {"type": "image", "tar": tar.name, "member": entry.member}
    said = {"type": "text", "text": entry.caption}
    turns = [{"role": "user", "parts": [picture]}, {"role": "assistant", "parts": [said]}]
    return json.dumps({"id": f"{tar.stem}/{entry.key}", "turns": turns}) + "\n"


def _entries(tar: Path) -> Iterator[Entry]:
    """The samples of a tar: a `.jpg` with a `.txt` of the same name."""
    pictures: dict[str, str] = {}
    texts: dict[str, str] = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            key, _, extension = member.name.rpartition(".")
            if extension in ("jpg", "jpeg"):
                pictures[key] = member.name
            elif extension == "txt":
                content = archive.extractfile(member)
                assert content is not None
                texts[key] = content.read().decode()
    for key, member_name in pictures.items():
        if key not in texts:
            raise SystemExit(f"{tar}: {member_name} has no {key}.txt beside it")
        yield Entry(key, member_name, texts[key])
