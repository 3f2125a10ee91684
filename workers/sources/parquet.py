"""Parquet files as Hugging Face writes them: pictures in a column, text in another.

1. `containers`: runs of row groups, from the file's metadata alone.
2. `unpack`: the rows of one run as a table: their text, and where their media are.
3. `plan`, `read`: the rows of that table in blocks, and their samples.
Media that stand in the file as they are, as `datasets` writes them since version 4, are found by
their byte range there. Compressed ones have none: they are copied to a container, a file of its own
that is named `<file>@<first row group>`, at one more pass over the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import RecipeError
from schemas.reasons import Reason
from workers.durable import whole_file
from workers.faults import Fault
from workers.sources.block import Block
from workers.sources.conversations import ConversationOptions
from workers.sources.fields import an_id
from workers.sources.parquet_columns import ParquetOptions, columns_of
from workers.sources.parquet_media import Container, Place, RowGroup
from workers.sources.parquet_rows import ROWS, Row, rows_of, rows_of_group, table_of
from workers.sources.sample import MediaRef, Sample
from workers.sources.tar_members import read_at
from workers.sources.told import Telling, Told, parsed, turns_of

if TYPE_CHECKING:
    from workers.storage.folder import Folder

__all__ = ["ROWS", "ParquetOptions", "RowGroups", "containers", "plan", "read", "unpack"]

VERSION = 1

CONTAINER_BYTES = 256 << 20
"""Row groups share a container up to this size, so that a task is neither tiny nor endless."""
BLOCKS = 4
"""Of small row groups in a container: its table and its files cost as much as those of a block."""
MAX_GROUP_ROWS = 1 << 24
"""Writers stop at 1 << 20."""
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RowGroups:
    """Row groups of one file whose media are copied to one container."""

    path: str
    first_group: int
    end_group: int
    first_row: int
    rows: int

    @property
    def name(self) -> str:
        """What media in the container have as their path."""
        return f"{self.path}@{self.first_group}"


def containers(
    folder: Folder, path: str, rows_per_block: int, options: ParquetOptions
) -> list[RowGroups]:
    """The file's row groups: each big one alone, small ones together until they fill a few blocks.

    Raises RecipeError where the file is not there, no Parquet, or lacks a column.
    """
    with _opened(folder, path) as file:
        columns_of(file.schema_arrow, options, f"{folder.url}/{path}")
        facts = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
        found: list[RowGroups] = []
        row = first_group = first_row = size = 0
        for group, fact in enumerate(facts, start=1):
            if not 0 <= fact.num_rows <= MAX_GROUP_ROWS:
                what = f"row group {group - 1} states {fact.num_rows} rows: its footer is damaged"
                raise RecipeError(f"{folder.url}/{path}: {what}")
            row += fact.num_rows
            size += fact.total_byte_size
            is_full = row - first_row >= BLOCKS * rows_per_block or size >= CONTAINER_BYTES
            if (is_full or group == len(facts)) and row > first_row:
                found.append(RowGroups(path, first_group, group, first_row, row - first_row))
                first_group, first_row, size = group, row, 0
        return found


def unpack(folder: Folder, groups: RowGroups, options: ParquetOptions, out: Path) -> pa.Table:
    """ROWS of these row groups; their media are in `out`, which is whole or not there.

    Raises RecipeError as `containers` does, and BuildError where `out` would be over its limit.
    """
    name = f"{folder.url}/{groups.path}"
    rows: list[Row] = []
    with (
        _opened(folder, groups.path) as file,
        closing(folder.open(groups.path)) as pages,
        whole_file(out) as descriptor,
    ):
        columns = columns_of(file.schema_arrow, options, name)
        container = Container(descriptor, name, options.max_unpacked_bytes)
        for number in range(groups.first_group, groups.end_group):
            group = RowGroup(file, number, partial(read_at, pages), groups.path)
            rows += rows_of_group(group, columns, container)
    return table_of(rows)


def plan(groups: RowGroups, rows_per_block: int) -> list[Block]:
    """The rows in blocks of one size, near the wanted one; `start` and `end` are rows of the
    unpacked table.
    """
    count = max(1, round(groups.rows / rows_per_block))
    bounds = [groups.rows * i // count for i in range(count + 1)]
    return [
        Block(groups.name, start, end, groups.first_row + start, end - start, "")
        for start, end in pairwise(bounds)
    ]


def read(table: pa.Table, block: Block, options: ParquetOptions) -> Iterator[tuple[Sample, str]]:
    """The samples of a block of the unpacked table, each with its origin."""
    path = block.path.rpartition("@")[0]
    stem = path.removesuffix(".parquet")
    talk = ConversationOptions(roles=options.roles, leading_answer=options.leading_answer)
    telling = Telling(options.prompt, options.without_text, talk)
    for number, row in enumerate(rows_of(table, block.start, block.end), block.first_row):
        sample_id = f"{stem}-{number}"
        try:
            if row.id is not None:
                sample_id = an_id(row.id)
            media = [_ref(place, block.path, number) for place in row.media]
            sample = _sample(row, media, sample_id, telling)
        except Fault as fault:
            message = f"{path}: row {number}: {fault.message}"
            sample = Sample(sample_id, drop=fault.reason, message=message)
        yield sample, f"{path}#row-{number}"


def _sample(row: Row, media: list[MediaRef], sample_id: str, telling: Telling) -> Sample:
    if row.reason:
        raise Fault(Reason(row.reason), row.message or "")
    if row.conversation is None:
        told = Told(row.caption, row.question, field="text")
    else:
        value = parsed(row.conversation.encode(), "conversations")
        told = Told(conversation=value, field="conversations")
    turns, refs = turns_of(told, media, telling)
    return Sample(sample_id, turns, refs)


def _ref(place: Place, container: str, row: int) -> MediaRef:
    path = container if place.path is None else place.path
    span = (place.offset, place.size) if place.offset >= 0 else None
    return MediaRef(place.kind, path, "", f"row {row}: {place.field}", span=span)


@contextmanager
def _opened(folder: Folder, path: str) -> Iterator[pq.ParquetFile]:
    name = f"{folder.url}/{path}"
    try:
        raw = folder.open(path)
    except FileNotFoundError:
        raise RecipeError(f"{name}: no such file") from None
    try:
        try:
            file = pq.ParquetFile(raw, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            first_line = str(error).partition("\n")[0]
            raise RecipeError(f"{name}: not a Parquet file: {first_line}") from error
        with file:
            yield file
    finally:
        raw.close()
