"""Our own input format, JSON Lines: one sample a line (docs/records.md).

A file is cut into blocks of whole lines, each with its digest; a block is read alone. No more is
held than one line, and never more than MAX_RECORD_BYTES. What is wrong in a line drops its sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Literal

from pydantic import BaseModel, ConfigDict

from workers.faults import Fault
from workers.sources.block import Block
from workers.sources.fields import an_id, place_id
from workers.sources.json_lines import plan_lines, read_block
from workers.sources.json_text import RecordText, decode, open_range
from workers.sources.sample import Sample
from workers.sources.turns import parse_turns
from workers.storage.folder import Folder


class RecordsOptions(BaseModel):
    """Keys of a source of records: none, since a record says all itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["records"] = "records"


def plan(folder: Folder, path: str, rows_per_block: int) -> list[Block]:
    """The file in blocks of so many rows; the last may have fewer, an empty file has none."""
    with closing(folder.open(path)) as file:
        return plan_lines(file, path, rows_per_block)


def read(folder: Folder, block: Block, options: RecordsOptions) -> Iterator[tuple[Sample, str]]:  # noqa: ARG001
    """The samples of a block, each with its origin."""
    with open_range(folder, block.path, block.start, block.end) as file:
        for line in read_block(file, block, f"{folder.url}/{block.path}"):
            yield parse_line(line, block.path), f"{block.path}#{line.offset}+{line.size}"


def parse_line(line: RecordText, path: str) -> Sample:
    """The sample of one line of the file at `path`; its id is `<file>-<line>` where it states none
    or cannot be read.
    """
    sample_id = place_id(path, line.number)
    try:
        record = decode(line)
        sample_id = an_id(record.get("id", sample_id))
        turns, media = parse_turns(record.get("turns"))
        return Sample(sample_id, turns, media)
    except Fault as fault:
        message = f"{line.place}: {fault.message}"
        return Sample(sample_id, drop=fault.reason, message=message)
