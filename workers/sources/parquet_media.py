"""The media of a row group: where they stand in the file, or copied to a container.

A picture that stands in the file as it is (`parquet_pages`) needs no copy: its column is not even
read, only the path beside the bytes, which shows where there is a picture and where a null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import BuildError
from schemas.reasons import Reason
from workers.durable import write_all
from workers.headers import MAX_IMAGE_BYTES
from workers.sources.fields import a_path, bad
from workers.sources.parquet_columns import MediaColumn
from workers.sources.parquet_pages import Leaf, spans_of
from workers.tarindex import Read


class InPlace(NamedTuple):
    """The bytes of a column as they stand in the file."""

    spans: list[tuple[int, int]]  # offset and size of all that is not null, in order
    beside: str  # the column of the paths beside them


class Place(NamedTuple):
    """Where one medium is."""

    kind: Literal["image", "video"]
    field: str
    path: str | None  # of a file below the root, such as the Parquet file; None for the container
    offset: int  # -1 where the medium is a file of its own
    size: int


class Container:
    """The file that media bytes are copied to."""

    def __init__(self, descriptor: int, name: str, max_bytes: int) -> None:
        self._descriptor, self._name, self._max_bytes = descriptor, name, max_bytes
        self._size = 0
        self._waiting: list[memoryview] = []

    def add(self, data: memoryview) -> int:
        """Where the bytes will stand; they must stay until `flush`."""
        offset = self._size
        self._size += len(data)
        if self._size > self._max_bytes:
            what = f"its media are over the limit of {self._max_bytes} bytes (max_unpacked_bytes)"
            raise BuildError(f"{self._name}: {what}")
        self._waiting.append(data)
        return offset

    def flush(self) -> None:
        """Write what was added."""
        write_all(self._descriptor, self._waiting)
        self._waiting = []


class RowGroup(NamedTuple):
    """One row group of an open file."""

    file: pq.ParquetFile
    number: int
    read: Read
    path: str  # of the file, relative to the root


class Media:
    """One column of media in a row group, batch after batch."""

    def __init__(self, group: RowGroup, column: MediaColumn, container: Container) -> None:
        self._column, self._path = column, group.path
        self._container = container
        self._in_place = _in_place(group, column)
        self._used = 0

    @property
    def wanted(self) -> str:
        """The column that batches must have."""
        return self._in_place.beside if self._in_place else self._column.name

    def of_batch(self, batch: pa.RecordBatch) -> Callable[[int], Iterator[Place]]:
        """What each row of the next batch shows."""
        cells = _Cells(batch.column(self._column.name), self._column)
        if not self._in_place:
            return lambda row: self._copied(cells, row)
        ranks = list(accumulate(cells.valid, initial=self._used))
        self._used = ranks[-1]
        spans = self._in_place.spans
        return lambda row: self._found(cells, row, ranks, spans)

    def _copied(self, cells: _Cells, row: int) -> Iterator[Place]:
        for at, field in cells.of_row(row):
            if cells.data is not None and cells.data[at].is_valid:
                data = memoryview(cells.data[at].as_buffer())
                self._check(len(data), field)
                offset = self._container.add(data)
                yield Place(self._column.kind, field, None, offset, len(data))
            elif path := cells.path(at):
                yield Place(self._column.kind, field, a_path(path, field), -1, -1)
            elif self._column.is_list:
                raise bad(field, "null: neither bytes nor path", Reason.MISSING_MEDIA)

    def _found(
        self, cells: _Cells, row: int, ranks: list[int], spans: list[tuple[int, int]]
    ) -> Iterator[Place]:
        for at, field in cells.of_row(row):
            if cells.valid[at]:
                offset, size = spans[ranks[at]]
                self._check(size, field)
                yield Place(self._column.kind, field, self._path, offset, size)
            elif self._column.is_list:
                raise bad(field, "null: neither bytes nor path", Reason.MISSING_MEDIA)

    def _check(self, size: int, field: str) -> None:
        if self._column.kind == "image" and size > MAX_IMAGE_BYTES:
            what = f"{size} bytes, over the limit of {MAX_IMAGE_BYTES}"
            raise bad(field, what, Reason.TOO_MANY_BYTES)


class _Cells:
    """A column of media in one batch."""

    def __init__(self, cells: pa.Array, column: MediaColumn) -> None:
        self._name = column.name
        values = cells
        self._bounds: list[int] | None = None
        if column.is_list:
            values = cells.flatten()
            counts = pc.fill_null(pc.list_value_length(cells), 0)
            self._bounds = [0, *pc.cumulative_sum(counts).to_pylist()]
        self.valid: list[bool] = values.is_valid().to_pylist()
        self.data = self._paths = None
        if column.form == "path":
            self._paths = values
        elif column.form == "bytes":
            self.data = values.cast(pa.large_binary())
        else:
            if values.type.get_field_index("bytes") >= 0:  # not read where they stay in place
                self.data = pc.struct_field(values, "bytes").cast(pa.large_binary())
            if values.type.get_field_index("path") >= 0:
                self._paths = pc.struct_field(values, "path")

    def of_row(self, row: int) -> Iterator[tuple[int, str]]:
        """Places in the column of what a row shows, and their names for messages."""
        if self._bounds is None:
            yield row, self._name
            return
        first, end = self._bounds[row : row + 2]
        yield from ((at, f"{self._name}[{at - first}]") for at in range(first, end))

    def path(self, at: int) -> str | None:
        """The path beside the bytes, or in their place."""
        return None if self._paths is None else self._paths[at].as_py()


def _in_place(group: RowGroup, column: MediaColumn) -> InPlace | None:
    """Where the bytes stand in the file, if that can be known without reading them: when there are
    as many as there are structs, so that only a null struct has none.
    """
    schema = group.file.metadata.schema
    leaves = [(i, schema.column(i).path.split(".")) for i in range(len(schema))]
    mine = {path[-1]: i for i, path in leaves if path[0] == column.name and len(path) > 1}
    if column.form != "struct" or mine.keys() != {"bytes", "path"}:
        return None
    described = schema.column(mine["bytes"])
    chunk = group.file.metadata.row_group(group.number).column(mine["bytes"])
    leaf = Leaf(chunk, described.max_repetition_level, described.max_definition_level)
    spans = spans_of(group.read, leaf)
    if spans is None:
        return None
    beside = schema.column(mine["path"]).path
    table = group.file.read_row_group(group.number, [beside], use_threads=False)
    structs = 0
    for cells in table.column(column.name).chunks:
        values = cells.flatten() if column.is_list else cells
        structs += len(values) - values.null_count
    return InPlace(spans, beside) if structs == len(spans) else None
