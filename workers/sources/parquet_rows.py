"""Rows of Parquet files: their text, and where their media are.

Row groups are read in small batches. A picture that stands in the file as it is stays there; others
are copied to one container file, one after another. A row that cannot be read keeps its place with
a reason: a null in a list of pictures, a path out of the root, text that is not UTF-8, what lies
behind damage in its row group.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.reasons import Reason
from workers.faults import Fault
from workers.sources.fields import bad
from workers.sources.parquet_columns import Columns
from workers.sources.parquet_media import Container, Media, Place, RowGroup
from workers.sources.told import MAX_TEXT_BYTES, too_long

BATCH_BYTES = 16 << 20
MAX_BATCH_ROWS = 256

MEDIA = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("field", pa.string(), nullable=False),
        pa.field("path", pa.string()),  # null = in the container
        pa.field("offset", pa.int64(), nullable=False),  # -1 where it is a file of its own
        pa.field("size", pa.int64(), nullable=False),
    ]
)
ROWS = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("question", pa.string()),
        pa.field("conversation", pa.string()),  # JSON
        pa.field("media", pa.list_(MEDIA), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("message", pa.string()),
    ]
)


class Row(NamedTuple):
    """One row of ROWS."""

    id: str | None = None
    caption: str | None = None
    question: str | None = None
    conversation: str | None = None
    media: Sequence[Place] = ()
    reason: str | None = None
    message: str | None = None


def rows_of_group(group: RowGroup, columns: Columns, container: Container) -> Iterator[Row]:
    """The rows of one row group, as many as its metadata say."""
    left = group.file.metadata.row_group(group.number).num_rows
    what = "it ends"
    try:
        media = [Media(group, column, container) for column in columns.media]
        for batch in _batches(group, [*columns.texts, *(column.wanted for column in media)]):
            for row in _rows(batch.slice(0, left), columns, media):
                left -= 1
                yield row
            container.flush()
    except (pa.ArrowException, OSError) as error:
        container.flush()
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the file's: Arrow's own have no number
        what = str(error).partition("\n")[0]
    for _ in range(left):
        message = f"row group {group.number} cannot be read from here on: {what}"
        yield Row(reason=Reason.DAMAGED_ARCHIVE.value, message=message)


def _batches(group: RowGroup, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The row group in batches of a few megabytes."""
    facts = group.file.metadata.row_group(group.number)
    average = max(1, facts.total_byte_size // max(1, facts.num_rows))
    rows = min(MAX_BATCH_ROWS, max(1, BATCH_BYTES // average))
    yield from group.file.iter_batches(rows, [group.number], columns, use_threads=False)


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Rows as ROWS."""
    columns: list[list[object]] = [[row[at] for row in rows] for at in range(len(ROWS))]
    columns[ROWS.get_field_index("media")] = [[p._asdict() for p in row.media] for row in rows]
    arrays = [pa.array(column, f.type) for column, f in zip(columns, ROWS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=ROWS)


def rows_of(table: pa.Table, start: int, end: int) -> Iterator[Row]:
    """Rows of such a table."""
    columns = table.slice(start, end - start).to_pydict()
    columns["media"] = [[Place(**fields) for fields in row] for row in columns["media"]]
    yield from map(Row, *(columns[name] for name in ROWS.names))


def _rows(batch: pa.RecordBatch, columns: Columns, media: Sequence[Media]) -> Iterator[Row]:
    shown = [column.of_batch(batch) for column in media]
    texts = {name: _values(batch.column(name)) for name in columns.texts}
    for i in range(len(batch)):
        sample_id = None
        try:
            sample_id = _text(texts, columns.id, i)
            yield Row(
                id=sample_id,
                caption=_text(texts, columns.caption, i),
                question=_text(texts, columns.question, i),
                conversation=_text(texts, columns.conversations, i),
                media=[place for of_row in shown for place in of_row(i)],
            )
        except Fault as fault:
            yield Row(id=sample_id, reason=fault.reason.value, message=fault.message)


_Values = Mapping[str, Sequence[Any]]


def _values(cells: pa.Array) -> Sequence[Any]:
    """The cells of a batch, all at once; where one is no text, each as it is, to be tried alone."""
    try:
        values: list[Any] = cells.to_pylist()
    except UnicodeDecodeError:
        return list(cells)
    return values


def _text(texts: _Values, column: str, row: int) -> str | None:
    """A cell as text: as it is, or as JSON. None where there is no such column."""
    if not column:
        return None
    value = texts[column][row]
    try:
        value = value.as_py() if isinstance(value, pa.Scalar) else value
    except UnicodeDecodeError as error:
        raise bad(column, f"not UTF-8: {error.reason}") from error
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    if len(text) > MAX_TEXT_BYTES:
        raise too_long(len(text), column)
    return text
