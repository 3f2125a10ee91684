"""InternVL's format: a meta file of data sets, each a root and an annotation file of JSON Lines.

    {"docs": {"root": "docs/", "annotation": "docs.jsonl", "repeat_time": 2, "length": 1000}, …}

Each data set of the meta file is a source of its own (`entries`); its annotation lines are planned
and read as those of `llava_json`, with `clip`, [start, end] in seconds of its video.
Sources: OpenGVLab/InternVL internvl_chat/internvl/train/internvl_chat_finetune.py
(`build_datasets`, `LazySupervisedDataset`), internvl.readthedocs.io "Chat Data Format".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from schemas.errors import RecipeError
from workers.faults import Fault
from workers.sources.block import Block
from workers.sources.conversations import ConversationOptions, sample_of
from workers.sources.fields import a_number, a_path, a_text, bad, named, shown
from workers.sources.json_lines import plan_lines, read_block
from workers.sources.json_text import first_byte, open_range
from workers.sources.sample import Sample
from workers.storage.folder import Folder


class InternvlJsonlOptions(ConversationOptions):
    """Keys of a source of InternVL's format."""

    kind: Literal["internvl_jsonl"] = "internvl_jsonl"


MAX_META_BYTES = 16 << 20
MAX_NAME_BYTES = 128
MAX_REPEAT_TIME = 1000
MAX_TILES = 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One data set of a meta file; its paths are relative to the source's root."""

    name: str
    root: str
    """The folder of its media; "" for the source's root itself."""
    annotation: str
    repeat_time: float
    """Mean copies of each sample, as a source's weight: 2 repeats, 0.5 keeps a seeded half."""
    max_dynamic_patch: int | None
    """Most tiles of its pictures, where the meta file says; else the policy's own."""


def entries(folder: Folder, meta_path: str) -> list[Entry]:
    """The data sets of a meta file, in its order. Raises RecipeError naming the file and the key.

    Their paths are relative to `folder`, or absolute and below it.
    """
    name = f"{folder.url}/{meta_path}"
    try:
        meta = _load(folder, meta_path)
        return [_entry(key, value, folder.url) for key, value in meta.items()]
    except Fault as fault:
        raise RecipeError(f"{name}: {fault.message}") from None


def plan(folder: Folder, path: str, rows_per_block: int) -> list[Block]:
    """An annotation file in blocks. Raises RecipeError where it is not JSON Lines."""
    with closing(folder.open(path)) as file:
        if (first := first_byte(file)) not in ("{", ""):
            what = f"expected JSON Lines, it begins with {shown(first)}"
            raise RecipeError(f"{folder.url}/{path}: {what}")
        file.seek(0)
        return plan_lines(file, path, rows_per_block)


def read(
    folder: Folder, block: Block, options: InternvlJsonlOptions
) -> Iterator[tuple[Sample, str]]:
    """The samples of a block, each with its origin."""
    with open_range(folder, block.path, block.start, block.end) as file:
        for record in read_block(file, block, f"{folder.url}/{block.path}"):
            sample = sample_of(record, block.path, options, clips=True)
            yield sample, f"{block.path}#{record.offset}+{record.size}"


def _load(folder: Folder, path: str) -> dict[str, Any]:
    stat = folder.stat(path)
    if stat is None:
        raise bad("meta file", "no such file")
    if stat.size > MAX_META_BYTES:
        raise bad("meta file", f"{stat.size} bytes, over the limit of {MAX_META_BYTES}")
    try:
        meta = json.loads(folder.read_whole(path).decode("utf-8-sig"), object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise bad("meta file", f"not JSON: {error.msg} at {place}") from error
    except UnicodeDecodeError as error:
        raise bad("meta file", f"not UTF-8: {error.reason}") from error
    except RecursionError as error:
        raise bad("meta file", "not JSON: nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise bad("meta file", f"not JSON: {error}") from error
    if not isinstance(meta, dict) or not meta:
        raise bad("meta file", f"expected data sets by name, found {named(meta)}")
    return meta


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of two values under one name, the first would be lost without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise bad(shown(repeated), "stands twice in one object")
    return found


def _entry(name: str, value: Any, url: str) -> Entry:
    if not name.isprintable() or "/" in name or not 1 <= len(name.encode()) <= MAX_NAME_BYTES:
        what = f"a name has 1 to {MAX_NAME_BYTES} bytes, without / and control characters"
        raise bad(shown(name), what)
    if not isinstance(value, dict):
        raise bad(name, f"expected an object, found {named(value)}")
    repeat_time = a_number(value.get("repeat_time", 1), f"{name}.repeat_time")
    if not 0 <= repeat_time <= MAX_REPEAT_TIME:
        what = f"expected 0 to {MAX_REPEAT_TIME}, found {repeat_time}"
        raise bad(f"{name}.repeat_time", what)
    return Entry(
        name=name,
        root=_below(value.get("root"), url, f"{name}.root", folder=True),
        annotation=_below(value.get("annotation"), url, f"{name}.annotation"),
        repeat_time=repeat_time,
        max_dynamic_patch=_tiles(value.get("max_dynamic_patch"), f"{name}.max_dynamic_patch"),
    )


def _below(value: Any, url: str, field: str, *, folder: bool = False) -> str:
    """A path relative to the source's root; absolute ones are shortened where they lie below."""
    text = a_text(value, field)
    text = "." if text.rstrip("/") == url else text.removeprefix(f"{url.rstrip('/')}/")
    if folder and text[:1] != "/" and set(text.split("/")) <= {"", "."}:
        return ""
    try:
        return a_path(text, field)
    except Fault as fault:
        raise Fault(fault.reason, f"{fault.message} (the source's root is {url})") from None


def _tiles(value: Any, field: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_TILES:
        raise bad(field, f"expected a whole number from 1 to {MAX_TILES}, found {shown(value)}")
    return value
