"""Making a benchmark list from a benchmark's own files: pictures, texts, or Parquet with both."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import RecipeError
from workers.faults import Fault
from workers.headers import read_header
from workers.signals.picture import picture_signals
from workers.word_runs import listed_runs

MAX_BYTES = 1 << 30
"""Of a file that is no Parquet."""
_TEXTS = (".json", ".jsonl", ".txt", ".md")


@dataclass
class Listed:
    """What a list is made of, and what was passed over, by reason."""

    pictures: list[int] = field(default_factory=list)
    runs: dict[int, set[int]] = field(default_factory=dict)
    texts: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


def list_benchmark(place: Path, words: int) -> Listed:
    """All pictures and texts in a folder, or in one file, with runs of so many words.

    Raises RecipeError where there is nothing to list.
    """
    listed = Listed()
    if not place.exists():
        raise RecipeError(f"{place}: no such file or folder")
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    for file in files:
        if file.suffix == ".parquet":
            _add_parquet(file, words, listed)
        elif file.stat().st_size > MAX_BYTES:
            listed.skipped["too_many_bytes"] += 1
        elif file.suffix in _TEXTS:
            _add_texts(file, words, listed)
        else:
            _add_picture(file.read_bytes(), listed)
    if not listed.pictures and not listed.runs:
        told = ", ".join(f"{reason} {count}" for reason, count in listed.skipped.items())
        what = f"no picture and no text of five words or more ({told or 'no files'})"
        raise RecipeError(f"{place}: {what}")
    return listed


def _add_picture(data: bytes, listed: Listed) -> None:
    try:
        header = read_header(data, "")
        found = picture_signals(data, header.format, header.width, header.height)
    except Fault as fault:
        listed.skipped[fault.reason.value] += 1
        return
    if found.blank:
        listed.skipped["blank"] += 1
    else:
        listed.pictures.append(int.from_bytes(found.phash, "big"))


def _add_text(text: str, words: int, listed: Listed) -> None:
    length, runs = listed_runs(text, words)
    if not length:
        listed.skipped["too_few_words"] += 1
        return
    listed.texts += 1
    listed.runs.setdefault(length, set()).update(runs.tolist())


def _add_texts(file: Path, words: int, listed: Listed) -> None:
    """All of a text file, or every text in JSON."""
    try:
        text = file.read_text("utf-8-sig")
        if not file.suffix.startswith(".json"):
            _add_text(text, words, listed)
            return
        lines = text.splitlines() if file.suffix == ".jsonl" else [text]
        for line in lines:
            for one in _texts_in(json.loads(line) if line.strip() else None):
                _add_text(one, words, listed)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise RecipeError(f"{file}: {' '.join(str(error).split())[:200]}") from error


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts_in(one)


def _add_parquet(file: Path, words: int, listed: Listed) -> None:
    """Columns of bytes hold pictures, also as Hugging Face writes them; those of strings texts."""
    try:
        opened = pq.ParquetFile(file)
        for batch in opened.iter_batches(batch_size=256):
            for column in batch.columns:
                for value in column.to_pylist():
                    _add_value(value, words, listed)
    except (pa.ArrowInvalid, OSError) as error:
        raise RecipeError(f"{file}: {' '.join(str(error).split())[:200]}") from error


def _add_value(value: Any, words: int, listed: Listed) -> None:
    if isinstance(value, bytes):
        _add_picture(value, listed)
    elif isinstance(value, str):
        _add_text(value, words, listed)
    elif isinstance(value, dict):
        # {bytes, path} is a picture, and its path no text
        inner = [value["bytes"]] if isinstance(value.get("bytes"), bytes) else list(value.values())
        for one in inner:
            _add_value(one, words, listed)
    elif isinstance(value, list):
        for one in value:
            _add_value(one, words, listed)
