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
    with locked(root):
        return _publish(root, manifest, base)


def _publish(root: Folder, manifest: Manifest, base: int) -> Manifest:
    _check_files(root, manifest)  # `gc` may have removed what the build found done
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
    with locked(root):
        found = versions(root)
        if number not in found:
            raise ContractError(f"{root.url} has no version {number}, but {found or 'none'}")
        _check_files(root, read_manifest(root, number))
        return _point_to(root, number)


def _check_files(root: Folder, manifest: Manifest) -> None:
    """Raises ContractError where a file that the manifest names is not there."""
    there = {path for path, _ in root.list()}
    for name in named_files(manifest):
        if name not in there:
            what = f"version {manifest.version} lacks it" if manifest.version else "build again"
            raise ContractError(f"{root.url}/{name} is gone: {what}")


def _point_to(root: Folder, number: int) -> Manifest:
    published = read_manifest(root, number)
    shards = [ShardCount(shard.name, shard.packs + shard.fillers) for shard in published.shards]
    patterns = [pattern for entry in published.partitions for pattern in _patterns(entry)]
    write_dataset_files(root, published.name, shards, patterns)
    root.write_whole(POINTER, json.dumps({"version": number}).encode())
    return published


def _patterns(entry: PartitionEntry) -> list[str]:
    """One glob for all shards; their names where some were written anew under another digest. None
    for a partition without shards: a pattern that matches nothing is an error to who reads it.
    """
    digits = entry.digest[:8]
    names = [shard.name for shard in entry.shards]
    whole = names and all(name.startswith(digits) for name in names)
    return [f"{digits}-*.tar"] if whole else names


@contextmanager
def locked(root: Folder) -> Iterator[None]:
    """Who publishes in a local folder, or removes from it, does so alone."""
    if not isinstance(root, LocalFolder):
        yield
        return
    (root.root / FOLDER).mkdir(parents=True, exist_ok=True)
    with (root.root / FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def named_files(manifest: Manifest) -> list[str]:
    """The files that a version is made of, beside its manifest and what lies beside its shards."""
    tables = [manifest.ledger.name, manifest.files.name]
    tables += [manifest.captions.name] if manifest.captions else []
    return [*(f"{FOLDER}/{name}" for name in tables), *(shard.name for shard in manifest.shards)]


def ledger_name(sha256: str) -> str:
    """A ledger is named by its content, so that versions may share it."""
    return f"{FOLDER}/ledger-{sha256[:16]}.parquet"


def files_name(sha256: str) -> str:
    """The same of the table of source files."""
    return f"{FOLDER}/files-{sha256[:16]}.parquet"


def captions_name(sha256: str) -> str:
    """The same of the table of captions."""
    return f"{FOLDER}/captions-{sha256[:16]}.parquet"


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
