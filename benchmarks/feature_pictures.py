"""JPEGs for the benchmark of features: of a corpus, or generated."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from benchmarks.source import Wanted, tars_for


def pictures(corpus: Path | None, work: Path, count: int) -> list[Path]:
    """So many JPEG files, no two with the same bytes: those of a corpus in turn, or generated."""
    folder = work / f"pictures-{count}"
    found = sorted(folder.glob("*.jpg"))
    if len(found) == count:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    contents = _of_corpus(corpus) if corpus else _generated(work, count)
    for number in range(count):
        # bytes behind the end of a JPEG change its digest and nothing else
        data = contents[number % len(contents)] + number.to_bytes(8, "big")
        (folder / f"{number:06d}.jpg").write_bytes(data)
    return sorted(folder.glob("*.jpg"))


def _of_corpus(corpus: Path) -> list[bytes]:
    rows = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text().splitlines()]
    files = [file for row in rows for file in row["files"] if file.get("format") == "JPEG"]
    good = [file["path"] for file in files if file["pillow"] == "ok"]
    return [(corpus / path).read_bytes() for path in dict.fromkeys(good)]


def _generated(work: Path, count: int) -> list[bytes]:
    found = []
    for tar in tars_for(None, work, Wanted(count=min(count, 500))):
        with tarfile.open(tar) as archive:
            for member in archive:
                content = archive.extractfile(member)
                if member.name.endswith(".jpg") and content is not None:
                    found.append(content.read())
    return found
