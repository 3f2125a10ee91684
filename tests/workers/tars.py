"""Tars for the tests of the WebDataset source, and their samples."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.tiny_source import encoded, picture
from workers.sources.sample import Sample
from workers.sources.webdataset import WebdatasetOptions, index, plan, read
from workers.storage.folder import folder_of

Members = Iterable[tuple[str, bytes | tarfile.TarInfo]]

JPEG = encoded(picture(1), "jpeg")
PNG = encoded(picture(2), "png")


def tar_bytes(members: Members, kind: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar of files, and of whatever else a TarInfo says."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, data in members:
            if isinstance(data, tarfile.TarInfo):
                data.name = name
                archive.addfile(data)
            else:
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A link, a device, a pipe, a folder."""
    entry = tarfile.TarInfo()
    entry.type, entry.linkname = kind, target
    return entry


def pair(key: str, caption: str = "", media: bytes = JPEG) -> list[tuple[str, bytes]]:
    """A picture and its caption."""
    return [(f"{key}.jpg", media), (f"{key}.txt", (caption or f"It is {key}.").encode())]


def samples(
    path: Path, samples_per_block: int = 1000, at: str = "", **options: Any
) -> list[Sample]:
    """All samples of a tar, whose media lie where they say."""
    folder = folder_of(path.parent)
    found = []
    table = index(folder, path.name, at)
    for block in plan(table, path.name, samples_per_block):
        rows = list(read(folder, block, WebdatasetOptions(**options), table, at))
        assert len(rows) == block.rows
        for sample, origin in rows:
            assert origin.startswith(f"{path.name}#")
            assert (sample.drop is None) == (sample.message is None)
            found.append(sample)
    return found


def of(folder: Path, members: Members, **options: Any) -> list[Sample]:
    """The samples of a tar of these members."""
    path = folder / "t.tar"
    path.write_bytes(tar_bytes(members))
    return samples(path, **options)


def shown(sample: Sample) -> str:
    """Turns in one line: media as {member}."""
    turns = []
    for turn in sample.turns:
        parts = (
            f"{{{sample.media[p.item].member}}}" if p.item >= 0 else p.text for p in turn.parts
        )
        turns.append(f"{turn.role}: {''.join(parts)}")
    return " | ".join(turns)


def js(value: object) -> bytes:
    """JSON."""
    return json.dumps(value).encode()
