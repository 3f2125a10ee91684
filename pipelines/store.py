"""The cache of stage outputs: tables named by the digest of their spec, beside a receipt.

A table is an Arrow file of one record batch, read by memory map, so that a worker that needs a
few rows of many tables holds only those. Its receipt, a small JSON file written after it, holds
the digest of its content: specs further on contain that, so a stage that is done again with the
same result redoes nothing behind it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from schemas.errors import ContractError
from workers.durable import whole_file, write_whole


@dataclass(frozen=True)
class FileState:
    """A file as a stage saw it, below the root of its source; never part of a digest."""

    path: str
    size: int
    mtime_ns: int

    def holds(self, root: Path) -> bool:
        """Whether the file below this root has this size and time."""
        try:
            stat = (root / self.path).stat()
        except OSError:
            return self.size == -1  # it was missing, and still is
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.mtime_ns)


@dataclass(frozen=True)
class Receipt:
    """What is known of a finished output without opening it."""

    stage: str
    key: str
    digest: str
    rows: int
    inputs: tuple[FileState, ...] = ()
    facts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Store:
    """A folder of stage outputs."""

    root: Path

    def table_path(self, stage: str, key: str) -> Path:
        """Where the table of a stage with this spec digest lies."""
        return self.root / stage / f"{key[:32]}.arrow"

    def receipt(self, stage: str, key: str, root: Path = Path()) -> Receipt | None:
        """The receipt of a finished output whose inputs below `root` are as they were, or None."""
        path = self.table_path(stage, key)
        try:
            raw = json.loads(path.with_suffix(".json").read_bytes())
            raw["inputs"] = tuple(FileState(**state) for state in raw["inputs"])
            receipt = Receipt(**raw)
        except (OSError, ValueError, TypeError, KeyError):
            return None
        if receipt.key != key or not path.exists():
            return None
        return receipt if all(state.holds(root) for state in receipt.inputs) else None

    def write(
        self,
        stage: str,
        key: str,
        table: pa.Table,
        inputs: tuple[FileState, ...] = (),
        facts: dict[str, int] | None = None,
    ) -> Receipt:
        """Write a table and its receipt; the table takes its name first, the receipt makes it
        count.
        """
        path = self.table_path(stage, key)
        path.with_suffix(".json").unlink(missing_ok=True)  # no receipt vouches for another table
        with whole_file(path) as descriptor, open(descriptor, "wb", closefd=False) as file:
            sink = _HashingSink(file)
            with pa.ipc.new_file(pa.PythonFile(sink, "w"), table.schema) as writer:
                for batch in table.combine_chunks().to_batches():
                    writer.write_batch(batch)
        receipt = Receipt(stage, key, sink.digest.hexdigest(), table.num_rows, inputs, facts or {})
        write_whole(path.with_suffix(".json"), json.dumps(asdict(receipt), indent=1).encode())
        return receipt

    def read(self, stage: str, key: str) -> pa.Table:
        """The table, memory-mapped. Raises ContractError if the file is not a whole Arrow file."""
        return read_table(self.table_path(stage, key))


def read_table(path: Path) -> pa.Table:
    """A table of the cache, memory-mapped; raises ContractError naming a file that is not a whole
    Arrow file.
    """
    try:
        with pa.memory_map(str(path)) as source:
            return pa.ipc.open_file(source).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise ContractError(f"{path}: {error}; delete it and build again") from error


Buffer = bytes | memoryview


class _HashingSink:
    """A file that digests what is written to it."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.digest = hashlib.sha256()
        self._file = file

    def write(self, data: Buffer) -> int:
        """Arrow calls this with its buffers."""
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Arrow calls this at the end."""
        self._file.flush()

    def close(self) -> None:
        """The file is closed by whoever opened it."""
