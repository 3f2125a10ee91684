"""The records of the demo while they are put together: turns, and the files that they name."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image

Record = Mapping[str, object]
Pictures = Mapping[str, Image.Image]

TAR = "parts.tar"


@dataclass
class Demo:
    """What is to be written: records, files by path, and members of the tar by name."""

    records: list[Record] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    members: dict[str, bytes] = field(default_factory=dict)

    def image(self, name: str, data: bytes) -> dict[str, object]:
        """A picture in a file of its own, as a part of a turn."""
        self.files[name] = data
        return {"type": "image", "path": name}

    def add(self, name: str, *turns: Record) -> None:
        """One sample."""
        self.records.append({"id": name, "turns": list(turns)})


def say(role: str, *parts: Record | str) -> Record:
    """A turn of texts and media."""
    named = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return {"role": role, "parts": named}


def tar_of(members: Mapping[str, bytes]) -> bytes:
    """A plain tar of these members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
