"""publish: the manifest of a new version, the files that name its shards, then the pointer to it.

A version is taken by creating its manifest file, which only one build can do; the pointer is
replaced last. A build whose result is the published version already publishes nothing.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.versions import current_version, read_manifest, versions
from schemas.errors import ContractError, PublishConflictError
from schemas.manifest import FOLDER, POINTER, Manifest, PartitionEntry, manifest_name
from workers.sidefiles import DATASET_FILES, ShardCount, write_dataset_files
from workers.storage.folder import Folder
from workers.storage.local import LocalFolder


def latest(root: Folder) -> int:
    """The highest version that exists, published or not; 0 before the first."""
    return max(versions(root), default=0)


def already_published(root: Folder, manifest: Manifest) -> bool:
    """Whether the published version is this one but for its number, and its files are there."""
    number = current_version(root)
    if number is None or not _same(read_manifest(root, number), manifest):
        return False
    return all(root.stat(name) is not None for name in DATASET_FILES)


def publish(root: Folder, manifest: Manifest, base: int) -> Manifest:
    """Publish a version after `base`, the highest one when the build began; with its number.

    Raises PublishConflictError where another build took the number in the meantime.
    """
    with _locked(root):
        return _publish(root, manifest, base)


def _publish(root: Folder, manifest: Manifest, base: int) -> Manifest:
    number = latest(root)
    # a build that was stopped between the manifest and the pointer left its version: go on with it
    if not (number and _same(read_manifest(root, number), manifest)):
        number = base + 1
        numbered = manifest.model_copy(update={"version": number})
        _create(root, manifest_name(number), _json(numbered))
    if (current_version(root) or 0) > number:
        raise PublishConflictError(f"version {number} is not the newest any more; run it again")
    return _point_to(root, number)


def publish_version(root: Folder, number: int) -> Manifest:
    """Make a version that exists the published one, also an earlier one; with its manifest.

    Raises ContractError where there is no such version, or one of its shards is gone.
    """
    with _locked(root):
        found = versions(root)
        if number not in found:
            raise ContractError(f"{root.url} has no version {number}, but {found or 'none'}")
        there = {path for path, _ in root.list()}
        missing = [s.name for s in read_manifest(root, number).shards if s.name not in there]
        if missing:
            raise ContractError(f"version {number} lacks {missing[0]}: it cannot be published")
        return _point_to(root, number)


def _point_to(root: Folder, number: int) -> Manifest:
    published = read_manifest(root, number)
    shards = [ShardCount(shard.name, shard.packs + shard.fillers) for shard in published.shards]
    patterns = [pattern for entry in published.partitions for pattern in _patterns(entry)]
    write_dataset_files(root, published.name, shards, patterns)
    root.write_whole(POINTER, json.dumps({"version": number}).encode())
    return published


def _patterns(entry: PartitionEntry) -> list[str]:
    """One glob for all shards; their names where some were written anew under another digest."""
    digits = entry.digest[:8]
    names = [shard.name for shard in entry.shards]
    return [f"{digits}-*.tar"] if all(name.startswith(digits) for name in names) else names


@contextmanager
def _locked(root: Folder) -> Iterator[None]:
    """Readers of a local folder never see one version's card beside another's."""
    if not isinstance(root, LocalFolder):
        yield
        return
    (root.root / FOLDER).mkdir(parents=True, exist_ok=True)
    with (root.root / FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ledger_name(sha256: str) -> str:
    """A ledger is named by its content, so that versions may share it."""
    return f"{FOLDER}/ledger-{sha256[:16]}.parquet"


def files_name(sha256: str) -> str:
    """The same of the table of source files."""
    return f"{FOLDER}/files-{sha256[:16]}.parquet"


def _same(one: Manifest, other: Manifest) -> bool:
    return one.model_copy(update={"version": 0}) == other.model_copy(update={"version": 0})


def _json(manifest: Manifest) -> bytes:
    return (json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n").encode()


def _create(root: Folder, name: str, data: bytes) -> None:
    """The file, whole, only if no file of this name exists."""
    try:
        root.create(name, data)
    except FileExistsError:
        raise PublishConflictError(
            f"{name.rpartition('/')[2]} was published by another build while this one ran; "
            "run it again on top of that version"
        ) from None
