"""What is said of a corpus sample, from what came with it: nothing here is made up.

| what came with it      | becomes                                                           |
|------------------------|-------------------------------------------------------------------|
| a conversation         | its turns                                                         |
| an interleaved text    | a document with its pictures in place                             |
| a caption, a word      | a request, and that text as the answer                            |
| labels, boxes, lines   | a request, and the labels as the answer                           |
| nothing                | a document: the picture, and the line that says where it is from  |
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Box = dict[str, Any]
Said = list[tuple[str, str]]
"""Questions and answers."""

MAX_DOCUMENT_BYTES = 6000


def answers(text: str | None, kind: str | None, medium: str, annotations: Sequence[Box]) -> Said:
    """What is asked and answered of the media of a sample, none where nothing came with them."""
    if text is not None:
        word = kind == "ocr_word_transcription"
        return [("What is written here?" if word else f"Describe the {medium}.", text)]
    questions = [found["question"] for found in annotations if found["type"] == "question"]
    said = [("What could one ask about this picture?", "\n".join(questions))] if questions else []
    for found in annotations:
        said += _labelled(found)
    return said


def boxes(annotations: Sequence[Box]) -> Iterator[Box]:
    """The boxes of a picture with their labels, in the notation of our records."""
    for mark in annotations:
        if mark["type"] == "ocr_lines":
            yield from (_around(line["quad"], line["text"]) for line in mark["lines"])
        elif mark["type"] == "ocr_boxes_kie":
            yield from (_around(line["box"], line["text"]) for line in mark["boxes"])
        elif mark["type"] == "ocr_polygons":
            for place in mark["instances"]:
                yield _around(place["polygon"], "illegible" if place["ignore"] else "text")
        elif mark["type"] == "detection":
            for thing in mark["objects"]:
                left, top, width, height = thing["bbox_xywh"]
                xyxy = [left, top, left + width, top + height]
                yield {"xyxy": xyxy, "label": thing["category"]}


def credit(file: dict[str, Any]) -> str:
    """Where a file is from."""
    origin = file["origin"]
    return f"{origin['path']}, from {origin['repo']} ({origin['licence']})"


def documents(path: Path) -> str:
    """The texts of a JSON Lines file, whole lines up to MAX_DOCUMENT_BYTES."""
    kept, size = [], 0
    for line in path.read_text("utf-8").splitlines():
        text = "\n".join(_texts(json.loads(line)))
        size += len(text.encode()) + 2
        if size > MAX_DOCUMENT_BYTES:
            break
        kept.append(text)
    return "\n\n".join(kept)


def _labelled(found: Box) -> Iterator[tuple[str, str]]:
    """A request and its answer for one annotation."""
    kind = found["type"]
    read = "Write down the text in the picture, line by line."
    if kind == "class_label":
        yield "What does the picture show?", found["name"]
    elif kind == "ocr_lines":
        yield read, "\n".join(line["text"] for line in found["lines"])
    elif kind == "ocr_boxes_kie":
        yield read, "\n".join(line["text"] for line in found["boxes"] if line["text"])
    elif kind == "key_information":
        names = ", ".join(found["fields"])
        yield f"Give as JSON: {names}.", json.dumps(found["fields"], ensure_ascii=False)
    elif kind == "ocr_polygons":
        yield "At how many places is text marked?", str(len(found["instances"]))
    elif kind == "detection":
        names = _counted([thing["category"] for thing in found["objects"]])
        yield "Which things are marked in the picture, and how many?", names
    elif kind == "boxes3d":
        labels = [box["label"] for box in found["boxes"] if box["label"] >= 0]
        names = _counted([found["classes"][label] for label in labels])
        yield "Which things are marked around the car, and how many?", names


def _counted(names: Sequence[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(names).items()))


def _around(corners: Sequence[float], label: str) -> Box:
    """The upright box around a polygon x, y, x, y, …"""
    x, y = corners[::2], corners[1::2]
    return {"xyxy": [min(x), min(y), max(x), max(y)], "label": label}


def _texts(line: dict[str, Any]) -> Iterator[str]:
    for name in ("instruction", "text", "output"):
        if name in line:
            yield line[name]
    yield from line.get("captions", [])
