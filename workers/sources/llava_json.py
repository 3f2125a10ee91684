"""LLaVA's format: conversations in one JSON array, or one a line; media by path below the root.

    {"id": "17", "image": "a.jpg", "conversations": [{"from": "human", "value": "<image> So?"}, …]}

`image` and `video` are a path or a list of them; `text` in place of `conversations` is a plain
document. An array is cut at its commas without being parsed (`json_array.py`), so a file of any
size is planned and read in bounded memory, and its first byte tells which of the two it is.
Rules of markers: `conversations.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Literal

from schemas.errors import RecipeError
from workers.sources.block import Block
from workers.sources.conversations import ConversationOptions, sample_of
from workers.sources.fields import shown
from workers.sources.json_array import plan_array, read_array
from workers.sources.json_lines import plan_lines, read_block
from workers.sources.json_text import first_byte, open_range
from workers.sources.sample import Sample
from workers.storage.folder import Folder


class LlavaJsonOptions(ConversationOptions):
    """Keys of a source of LLaVA's format."""

    kind: Literal["llava_json"] = "llava_json"


def plan(folder: Folder, path: str, rows_per_block: int) -> list[Block]:
    """The file in blocks. Raises RecipeError where it is neither of the two, or is cut off."""
    name = f"{folder.url}/{path}"
    with closing(folder.open(path)) as file:
        first = first_byte(file)
        if first == "[":
            return plan_array(file, path, rows_per_block, name)
        if first not in ("{", ""):
            what = f"expected a JSON array or JSON Lines, it begins with {shown(first)}"
            raise RecipeError(f"{name}: {what}")
        file.seek(0)
        return plan_lines(file, path, rows_per_block)


def read(folder: Folder, block: Block, options: LlavaJsonOptions) -> Iterator[tuple[Sample, str]]:
    """The samples of a block, each with its origin."""
    begins = max(0, block.start - 1)
    with open_range(folder, block.path, begins, block.end) as file:
        # blocks of an array begin behind its bracket or a comma; of lines, behind a line's end
        is_array = file.read(block.start - begins) in (b"[", b",")
        records = read_array if is_array else read_block
        for record in records(file, block, f"{folder.url}/{block.path}"):
            sample = sample_of(record, block.path, options)
            yield sample, f"{block.path}#{record.offset}+{record.size}"
