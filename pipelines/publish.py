"""publish: the manifest of a new version, the files that name its shards, then the pointer to it.

A version is taken by creating its manifest file, which only one build can do; the pointer is
replaced last. A build whose result is the published version already publishes nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from schemas.errors import PublishConflictError
from schemas.manifest import (
    FOLDER,
    Manifest,
    current_version,
    manifest_path,
    pointer_path,
    read_manifest,
    versions,
)
from workers.durable import write_whole
from workers.sidefiles import DATASET_FILES, ShardCount, write_dataset_files


def latest(root: Path) -> int:
    """The highest version that exists, published or not; 0 before the first."""
    return max(versions(root), default=0)


def already_published(root: Path, manifest: Manifest) -> bool:
    """Whether the published version is this one but for its number, and its files are there."""
    number = current_version(root)
    if number is None or not _same(read_manifest(root, number), manifest):
        return False
    return all((root / name).exists() for name in DATASET_FILES)


def publish(root: Path, manifest: Manifest, base: int) -> Manifest:
    """Publish a version after `base`, the highest one when the build began; with its number.

    Raises PublishConflictError where another build took the number in the meantime.
    """
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    with (root / FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # readers never see one version's card beside another's
        return _publish(root, manifest, base)


def _publish(root: Path, manifest: Manifest, base: int) -> Manifest:
    number = latest(root)
    # a build that was stopped between the manifest and the pointer left its version: go on with it
    if not (number and _same(read_manifest(root, number), manifest)):
        number = base + 1
        numbered = manifest.model_copy(update={"version": number})
        _create(manifest_path(root, number), _json(numbered))
    if (current_version(root) or 0) > number:
        raise PublishConflictError(f"version {number} is not the newest any more; run it again")
    published = read_manifest(root, number)
    shards = [ShardCount(shard.name, shard.packs + shard.fillers) for shard in published.shards]
    patterns = [f"{partition.digest[:8]}-*.tar" for partition in published.partitions]
    write_dataset_files(root, published.name, shards, patterns)
    write_whole(pointer_path(root), json.dumps({"version": number}).encode())
    return published


def ledger_path(root: Path, sha256: str) -> Path:
    """A ledger is named by its content, so that versions may share it."""
    return root / FOLDER / f"ledger-{sha256[:16]}.parquet"


def _same(one: Manifest, other: Manifest) -> bool:
    return one.model_copy(update={"version": 0}) == other.model_copy(update={"version": 0})


def _json(manifest: Manifest) -> bytes:
    return (json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n").encode()


def _create(path: Path, data: bytes) -> None:
    """The file, whole, only if no file of this name exists."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        write_whole(draft, data)
        os.link(draft, path)
    except FileExistsError:
        raise PublishConflictError(
            f"{path.name} was published by another build while this one ran; "
            "run it again on top of that version"
        ) from None
    finally:
        draft.unlink(missing_ok=True)
