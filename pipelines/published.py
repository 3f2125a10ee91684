"""The tables beside the manifests of a published version: its ledger, and its source files."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.partitions import Published, SourceFile
from schemas.columns import one_chunk
from schemas.errors import ContractError
from schemas.manifest import FOLDER, Manifest
from schemas.tables import LEDGER
from workers.storage.folder import Folder


def published_files(root: Folder, base: Manifest | None) -> Published:
    """The files of a version and their partitions."""
    if base is None:
        return Published()
    table = read_table(root, base.files.name)
    homes = {name: entry.name for entry in base.partitions for name in entry.merged}
    columns = (table.column(name).to_pylist() for name in ("source", "path", "partition"))
    rows = zip(*columns, strict=True)
    files = {SourceFile(source, path): homes.get(name, name) for source, path, name in rows}
    return Published(files, homes)


def read_table(root: Folder, name: str) -> pa.Table:
    """A Parquet table beside the manifests. Raises ContractError naming it."""
    path = f"{FOLDER}/{name}"
    try:
        return pq.ParquetFile(pa.BufferReader(root.read_whole(path))).read()
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise ContractError(f"{root.url}/{path}: {error}") from error


def write_table(
    root: Folder, table: pa.Table, schema: pa.Schema, name_of: Callable[[str], str]
) -> tuple[str, str]:
    """Write a table beside the manifests; the digest of the file, and its name."""
    buffer = io.BytesIO()
    # in one piece and with our names for what is in lists (Parquet gives back others): the bytes
    # must not tell which rows were taken over from the version before
    whole = pa.Table.from_arrays(table.combine_chunks().columns, schema=schema)
    pq.write_table(whole, buffer, compression="zstd")
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    path = name_of(sha256)
    found = root.stat(path)
    if found is None or found.size != len(data):
        root.write_whole(path, data)
    return sha256, path.rpartition("/")[2]


def whole_ledger(root: Folder, base: Manifest | None) -> dict[str, pa.Table]:
    """The ledger of a version by partition, if the file is what the manifest says; else nothing."""
    if base is None:
        return {}
    try:
        data = root.read_whole(f"{FOLDER}/{base.ledger.name}")
    except FileNotFoundError:
        return {}
    if hashlib.sha256(data).hexdigest() != base.ledger.sha256:
        return {}
    table = pq.ParquetFile(pa.BufferReader(data)).read()
    return by_partition(table) if table.schema.equals(LEDGER) else {}


def by_partition(table: pa.Table) -> dict[str, pa.Table]:
    """The rows of each partition: in these tables they stand together."""
    codes = one_chunk(table.column("partition")).dictionary_encode()
    numbers = codes.indices.to_numpy()
    starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
    ends = [*starts[1:], len(table)]
    return {
        codes[start].as_py(): table.slice(start, end - start)
        for start, end in zip(starts, ends, strict=False)
    }
