"""The cache of stage outputs: tables named by the digest of their spec, beside a receipt.

A table is an Arrow file of one record batch, read by memory map, so that a worker that needs a
few rows of many tables holds only those. Its receipt, a small JSON file written after it, holds
the digest of its content: specs further on contain that, so a stage that is done again with the
same result redoes nothing behind it. The cache lies in any folder; what is remote is copied to
local disk to be read.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyarrow as pa

from schemas.errors import ContractError
from workers.durable import whole_file
from workers.storage.drafts import draft_folder
from workers.storage.folder import Folder, Stat
from workers.storage.local import LocalFolder
from workers.storage.staging import Staging

One = TypeVar("One")
Result = TypeVar("Result")

_AT_ONCE = 16
"""Small files that are asked for at the same time."""


@dataclass(frozen=True)
class FileState:
    """A file as a stage saw it, below the root of its source; never part of a digest."""

    path: str
    size: int
    version: str

    def holds(self, root: Folder) -> bool:
        """Whether the file below this root has this size and version."""
        found = root.stat(self.path)
        if found is None:
            return self.size == -1  # it was missing, and still is
        return (found.size, found.version) == (self.size, self.version)


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
class Scratch:
    """Local disk for copies of remote files, and for files on their way to a remote folder."""

    folder: Path
    budget_bytes: int

    def staging(self) -> Staging:
        """The copies; one object for each thread."""
        return Staging(self.folder, self.budget_bytes)

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """An empty folder for files on their way, removed when the block ends."""
        with draft_folder(self.folder / "drafts") as made:
            yield made

    def content(self, folder: Folder, path: str) -> bytes:
        """A small file that seldom changes: of a remote folder, a copy may serve again."""
        if isinstance(folder, LocalFolder):
            return folder.read_whole(path)
        seen = folder.stat(path)
        if seen is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{folder.url}/{path}")
        with self.staging() as staging:
            return staging.local(folder, path, seen).read_bytes()


@dataclass(frozen=True)
class Redo:
    """Stages whose outputs are made again: what was there at a point in time does not count."""

    stages: frozenset[str] = frozenset()
    since_s: float = 0.0

    def counts(self, stage: str, found: Stat) -> bool:
        """Whether a file of this stage is as good as done.

        One of the same instant is: object stores tell whole seconds, and a file made right after
        the mark must count.
        """
        return stage not in self.stages or found.modified_s >= self.since_s


@dataclass(frozen=True)
class Store:
    """A folder of stage outputs."""

    folder: Folder
    scratch: Scratch
    redo: Redo = Redo()

    def path(self, stage: str, key: str, suffix: str) -> str:
        """Where a file of an output with this spec digest lies below the folder."""
        return f"{stage}/{key[:32]}{suffix}"

    def receipt(self, stage: str, key: str, root: Folder | None = None) -> Receipt | None:
        """The receipt of a finished output whose inputs below `root` are as they were, or None."""
        try:
            raw = json.loads(self.scratch.content(self.folder, self.path(stage, key, ".json")))
            raw["inputs"] = tuple(FileState(**state) for state in raw["inputs"])
            receipt = Receipt(**raw)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
        found = self.folder.stat(self.path(stage, key, ".arrow"))
        if receipt.key != key or found is None or not self.redo.counts(stage, found):
            return None
        holds = root is None or all(state.holds(root) for state in receipt.inputs)
        return receipt if holds else None

    def receipts(
        self, stage: str, wanted: Mapping[str, Folder | None]
    ) -> dict[str, Receipt | None]:
        """The receipts of many keys, each with the root of its inputs."""
        keys = list(wanted)
        found = at_once(self.folder, lambda key: self.receipt(stage, key, wanted[key]), keys)
        return dict(zip(keys, found, strict=True))

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
        vouches = self.path(stage, key, ".json")
        self.folder.delete(vouches)  # no receipt vouches for another table
        with (
            self.new_file(self.path(stage, key, ".arrow")) as descriptor,
            open(descriptor, "wb", closefd=False) as file,
        ):
            sink = _HashingSink(file)
            with pa.ipc.new_file(pa.PythonFile(sink, "w"), table.schema) as writer:
                for batch in table.combine_chunks().to_batches():
                    writer.write_batch(batch)
        receipt = Receipt(stage, key, sink.digest.hexdigest(), table.num_rows, inputs, facts or {})
        # of a folder it names every file: `asdict` and `indent` would be a tenth of its survey
        said = {**vars(receipt), "inputs": [vars(state) for state in inputs]}
        self.folder.write_whole(vouches, json.dumps(said).encode())
        return receipt

    def read(self, stage: str, key: str) -> pa.Table:
        """The table, memory-mapped. Raises ContractError if the file is not a whole Arrow file."""
        return self.read_at(self.path(stage, key, ".arrow"))

    def read_all(self, stage: str, keys: Sequence[str]) -> list[pa.Table]:
        """The tables of many keys."""
        return at_once(self.folder, lambda key: self.read(stage, key), keys)

    def read_each(self, stage: str, keys: Sequence[str]) -> Iterator[pa.Table]:
        """The same one after another, for those who need them only for a moment."""
        for first in range(0, len(keys), 2 * _AT_ONCE):
            yield from self.read_all(stage, keys[first : first + 2 * _AT_ONCE])

    def read_at(self, path: str) -> pa.Table:
        """The table in this file of the cache, memory-mapped."""
        with self.scratch.staging() as staging:
            try:
                return _read_table(staging.local(self.folder, path))
            except FileNotFoundError as error:
                raise ContractError(f"{self.folder.url}/{path}: {error}; build again") from error

    @contextmanager
    def new_file(self, path: str) -> Iterator[int]:
        """A descriptor to write to; the file gets its name if the block ends without exception."""
        with new_file(self.folder, path, self.scratch) as descriptor:
            yield descriptor

    @contextmanager
    def new_path(self, path: str) -> Iterator[Path]:
        """A local path to write a whole file to; it takes its name when the block ends well."""
        if isinstance(self.folder, LocalFolder):
            yield self.folder.root / path
            return
        with self.scratch.draft() as made:
            yield made / "file"
            self.folder.put(made / "file", path)


@contextmanager
def new_file(folder: Folder, path: str, scratch: Scratch) -> Iterator[int]:
    """A descriptor whose file takes its name in the folder, whole, when the block ends well."""
    if isinstance(folder, LocalFolder):
        with whole_file(folder.root / path) as descriptor:
            yield descriptor
        return
    with scratch.draft() as made:
        with whole_file(made / "file") as descriptor:
            yield descriptor
        folder.put(made / "file", path)


def at_once(folder: Folder, work: Callable[[One], Result], many: Sequence[One]) -> list[Result]:
    """The results of small work on files of a folder, in order; on a remote one some at a time."""
    if isinstance(folder, LocalFolder) or len(many) < 2:
        return [work(one) for one in many]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(work, many))


def _read_table(path: Path) -> pa.Table:
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
