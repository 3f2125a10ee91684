"""Blocks of source files, before they are surveyed: what lies where, in which partition.

Text formats are planned from their bytes. A tar is indexed first, a compressed one unpacked, the
media of a Parquet file copied to a container: stages of their own on Ray, kept in the cache under
the file's name, size and version. A folder of media is listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pyarrow as pa

from pipelines.partitions import Published, SourceFile, partitions_of
from pipelines.sources import OpenSource
from pipelines.steps import StandIn, Workshop
from pipelines.store import FileState, Receipt, Store, at_once
from schemas.digest import spec_digest
from schemas.errors import RecipeError
from workers.sources import (
    folder,
    gunzip,
    internvl_jsonl,
    llava_json,
    parquet,
    records,
    tar_members,
    webdataset,
)
from workers.sources.block import Block as Range
from workers.storage.folder import Folder
from workers.storage.snapshot import forget

ROWS_PER_BLOCK = 256
INDEX_VERSION = 1

TEXT_FORMATS: dict[str, ModuleType] = {
    "records": records,
    "llava_json": llava_json,
    "internvl_jsonl": internvl_jsonl,
}


@dataclass(frozen=True)
class Found:
    """A block to survey."""

    source: OpenSource
    files: tuple[SourceFile, ...]
    block: Range
    content: str
    """Digest of what is parsed: the block's bytes, or the index that it is read from."""
    indexed: str = ""
    """Key of that index in the cache."""
    stand_in: StandIn | None = None
    states: tuple[FileState, ...] = field(default=())
    """Files whose size and version vouch for the rest of the content."""


@dataclass(frozen=True)
class IndexTask:
    """A tar to index, or row groups of a Parquet file to unpack."""

    files: Folder
    path: str
    state: FileState
    options: Any
    groups: parquet.RowGroups | None
    unpacked: str  # where in the cache; "" for a plain tar, which stays where it is
    key: str
    store: Store


def find_blocks(workshop: Workshop, published: Published) -> dict[str, list[Found]]:
    """The blocks of every partition, partitions in order, sources in the order of the recipe.

    Raises RecipeError where a source has no file, or one that cannot be what it should be, or
    where there is no record in any of them.
    """
    sources = workshop.sources
    listings = {
        n: folder.index(s.files, s.pattern.strip("/")) for n, s in sources.items() if _tree(s)
    }
    files = [
        file
        for name, source in sources.items()
        for file in (_media(name, listings[name]) if _tree(source) else source.listed())
    ]
    places = {
        file: row
        for name, table in listings.items()
        for row, file in enumerate(_media(name, table))
    }
    patterns = {name: source.partition for name, source in sources.items()}
    order = {name: number for number, name in enumerate(sources)}
    partitions = partitions_of(files, patterns, published)
    indexed = _index(workshop, [file for file in files if file.source not in listings])
    blocks: dict[str, list[Found]] = {}
    for partition, members in partitions.items():
        found: list[Found] = []
        for name in sorted({file.source for file in members}, key=order.__getitem__):
            mine = [file for file in members if file.source == name]
            if name in listings:
                rows = sorted(places[file] for file in mine)
                found += _of_tree(workshop, sources[name], listings[name].take(pa.array(rows)))
            else:
                for file in mine:
                    found += _of_file(sources[name], file, indexed.get(file, []))
        if found:  # else a night without a record: no partition yet
            blocks[partition] = found
    if not blocks:
        first = files[0]
        place = f"{sources[first.source].files.url}/{first.path}"
        raise RecipeError(f"sources.{first.source}.path: {place} holds no record")
    return blocks


def _tree(source: OpenSource) -> bool:
    return source.kind == "folder"


def _media(name: str, listing: pa.Table) -> list[SourceFile]:
    paths = listing.column("path").to_pylist()
    if not paths:
        raise RecipeError(f"sources.{name}.path: the folder holds no picture and no video")
    return [SourceFile(name, path) for path in paths]


def _of_file(
    source: OpenSource, file: SourceFile, indexed: Sequence[tuple[IndexTask, Receipt]]
) -> Iterator[Found]:
    """The blocks of one file."""
    if source.kind in TEXT_FORMATS:
        for block in TEXT_FORMATS[source.kind].plan(source.files, file.path, ROWS_PER_BLOCK):
            yield Found(source, (file,), block, block.sha256)
        return
    state = _state(source.files, file.path)
    for task, receipt in indexed:
        stand_in = None
        if task.groups:
            blocks = parquet.plan(task.groups, ROWS_PER_BLOCK)
            stand_in = StandIn(task.groups.name, task.unpacked)
        else:
            table = task.store.read("indexed", receipt.key)
            blocks = webdataset.plan(table, file.path, ROWS_PER_BLOCK)
            if task.unpacked:
                stand_in = StandIn(file.path, task.unpacked)
        for block in blocks:
            yield Found(source, (file,), block, receipt.digest, receipt.key, stand_in, (state,))


def _of_tree(workshop: Workshop, source: OpenSource, table: pa.Table) -> Iterator[Found]:
    """The blocks of those media of a folder that belong to one partition."""
    store = workshop.store
    key = spec_digest({"stage": "index", "files": folder.digest_of(table)})
    if not store.receipt("indexed", key):
        workshop.engine.local()
        store.write("indexed", key, table)
    for block in folder.plan(table, source.pattern, ROWS_PER_BLOCK):
        part = table.slice(block.start, block.end - block.start)
        states = tuple(FileState(*text) for text in folder.texts_of(part))
        mine = tuple(SourceFile(source.name, path) for path in part.column("path").to_pylist())
        yield Found(source, mine, block, block.sha256, key, None, states)


def _index(
    workshop: Workshop, files: Sequence[SourceFile]
) -> dict[SourceFile, list[tuple[IndexTask, Receipt]]]:
    """The indexes of all tars and Parquet files; those that are missing are made on Ray."""
    tasks = [
        (file, task)
        for file in files
        if workshop.sources[file.source].kind not in TEXT_FORMATS
        for task in _index_tasks(workshop, file)
    ]
    store = workshop.store
    done = at_once(store.folder, lambda one: _finished(store, one[1]), tasks)
    receipts = {task.key: receipt for (_, task), receipt in zip(tasks, done, strict=True)}
    todo = {task.key: task for _, task in tasks if receipts[task.key] is None}
    for receipt in workshop.run("index", run_index, list(todo.values())):
        receipts[receipt.key] = receipt
    if todo:
        forget(store.folder, "unpacked")
    found: dict[SourceFile, list[tuple[IndexTask, Receipt]]] = {}
    for file, task in tasks:
        known = receipts[task.key]
        assert known is not None  # made above
        found.setdefault(file, []).append((task, known))
    return found


def _finished(store: Store, task: IndexTask) -> Receipt | None:
    receipt = store.receipt("indexed", task.key)
    there = not task.unpacked or store.folder.stat(task.unpacked) is not None
    return receipt if there else None


def _index_tasks(workshop: Workshop, file: SourceFile) -> Iterator[IndexTask]:
    source = workshop.sources[file.source]
    if source.files.url != source.root.url:
        what = f"{file.path} must lie below the source's root, {source.root.url}"
        raise RecipeError(f"sources.{file.source}.path: {what}")
    state = _state(source.files, file.path)
    groups: list[parquet.RowGroups | None] = [None]
    if source.kind == "parquet":
        groups = [*parquet.containers(source.files, file.path, ROWS_PER_BLOCK, source.options)]
    for one in groups:
        key = spec_digest(
            {
                "stage": "index",
                "version": [INDEX_VERSION, gunzip.VERSION, parquet.VERSION],
                "columns": source.options.columns if one else [],
                "file": [file.path, state.size, state.version],
                "groups": [one.first_group, one.end_group] if one else [],
            }
        )
        copied = one or gunzip.is_compressed(file.path)
        unpacked = f"unpacked/{key[:32]}{'.bin' if one else '.tar'}" if copied else ""
        yield IndexTask(
            files=source.files,
            path=file.path,
            state=state,
            options=source.options,
            groups=one,
            unpacked=unpacked,
            key=key,
            store=workshop.store,
        )


def _state(files: Folder, path: str) -> FileState:
    found = files.stat(path)
    if found is None:
        raise RecipeError(f"{files.url}/{path}: no such file")
    return FileState(path, found.size, found.version)


def run_index(task: IndexTask) -> Receipt:
    """Index one tar or unpack some row groups, and keep the table."""
    store = task.store
    if task.groups:
        with store.new_path(task.unpacked) as out:
            table = parquet.unpack(task.files, task.groups, task.options, out)
    elif task.unpacked:
        with store.new_path(task.unpacked) as out:
            gunzip.unpack(task.files, task.path, out, task.options.max_unpacked_bytes)
        table = tar_members.index(store.folder, task.path, at=task.unpacked)
    else:
        table = tar_members.index(task.files, task.path)
    return store.write("indexed", task.key, table, (task.state,))
