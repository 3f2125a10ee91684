"""Turn the manifest of a corpus folder into records, one line a sample; the media stay in place.

    python -m examples.corpus_records [--corpus ../shared/corpus] [--out data/corpus]

The manifest is JSON Lines: `id`, `kind`, `files` (path, origin), `text`, `conversations` with
`<image>` and `<video>` in the order of the files, `annotations`, `cameras`. Media paths in the
records are relative to the corpus folder, which is the `root` of recipes/corpus.toml.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from examples.corpus_cameras import read_cameras
from examples.corpus_text import Said, answers, boxes, credit, documents
from workers.durable import write_whole

Record = dict[str, Any]

ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
MARKER = re.compile("<image>|<video>")


def corpus_records(corpus: Path) -> Iterator[Record]:
    """One record for each line of the manifest."""
    for line in (corpus / "manifest.jsonl").read_text("utf-8").splitlines():
        sample = json.loads(line)
        yield {"id": sample["id"], "turns": _turns(sample, corpus)}


def _turns(sample: Record, corpus: Path) -> list[Record]:
    if sample["conversations"]:
        return _conversation(sample)
    if sample["kind"] == "text":
        text = "\n\n".join(documents(corpus / file["path"]) for file in sample["files"])
        return [{"role": "text", "text": text}]
    if sample["text"] and MARKER.search(sample["text"]):
        return [_marked("text", sample["text"], list(sample["files"]))]
    media, annotations = _media(sample), sample["annotations"] or []
    kind = (sample["text_info"] or {}).get("kind")
    medium = "video" if sample["kind"] == "video" else "picture"
    said = answers(sample["text"], kind, medium, annotations)
    return _dialogue(media, said) if said else [_credited(media, sample["files"])]


def _conversation(sample: Record) -> list[Record]:
    """The turns as they are; media that no marker names stand before the first turn."""
    files = list(sample["files"])
    said = [(ROLES[turn["from"]], turn["value"]) for turn in sample["conversations"]]
    named = sum(len(MARKER.findall(text)) for _, text in said)
    before = "<video>" if sample["kind"] == "video" else "<image>"
    said[0] = said[0][0], f"{before}\n" * (len(files) - named) + said[0][1]
    return [_marked(role, text, files) for role, text in said]


def _marked(role: str, text: str, files: list[Record]) -> Record:
    """A turn of text with markers; takes as many files off the front of the list."""
    turn: Record = {"role": role, "text": text}
    for marker in MARKER.findall(text):
        turn.setdefault(f"{marker[1:-1]}s", []).append(files.pop(0)["path"])
    return turn


def _media(sample: Record) -> list[Record]:
    """The parts that show the files of a sample."""
    files, kind = sample["files"], sample["kind"]
    if kind == "multiview3d":
        posed = read_cameras(sample["cameras"], files)
        views = [
            {"path": file["path"], "intrinsics": intrinsics, "pose": pose.tolist()}
            for file, intrinsics, pose in zip(files, posed.intrinsics, posed.poses, strict=True)
        ]
        return [{"type": "views", "convention": posed.convention, "views": views}]
    parts: list[Record] = [
        {"type": "video" if kind == "video" else "image", "path": file["path"]} for file in files
    ]
    if kind == "single_image" and (found := list(boxes(sample["annotations"] or []))):
        parts[0]["boxes"] = found
    return parts


def _dialogue(media: list[Record], said: Said) -> list[Record]:
    """Questions and answers; the media stand before the first question."""
    turns = []
    for question, answer in said:
        asked = _text(f"\n{question}" if media else question)
        turns.append({"role": "user", "parts": [*media, asked]})
        turns.append({"role": "assistant", "parts": [_text(answer)]})
        media = []
    return turns


def _credited(media: list[Record], files: Sequence[Record]) -> Record:
    """A document of media, each with the line that says where it is from."""
    parts: list[Record] = []
    for part, file in zip(media, files, strict=False):  # views are one part, with one line
        parts += [part, _text(f"\n{credit(file)}\n")]
    return {"role": "text", "parts": parts}


def _text(text: str) -> Record:
    return {"type": "text", "text": text}


def main() -> None:
    """Write the records and say where."""
    parser = argparse.ArgumentParser(description="Turn a corpus manifest into records.")
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"))
    parser.add_argument("--out", type=Path, default=Path("data/corpus"))
    arguments = parser.parse_args()
    records = list(corpus_records(arguments.corpus))
    path: Path = arguments.out / "records.jsonl"
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    write_whole(path, lines.encode())
    first = Counter(record["turns"][0]["role"] for record in records)
    print(f"{path}: {len(records)} samples; media below {arguments.corpus}")
    print(f"{len(records) - first['text']} conversations, {first['text']} documents")


if __name__ == "__main__":
    main()
