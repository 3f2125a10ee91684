"""gc: removes what no version names, once nobody has written it for a while.

1. Versions beyond the newest `keep`, but for the published one, where it is told how many to keep:
   their manifests go first.
2. Shards that no manifest names, with their receipts and side files; ledgers and tables of files.
3. Drafts: files under a temporary name, left by a process that was killed.
4. On demand what the published version does not need of the cache (`pipelines.gc_cache`).

All of it only where it is older than the grace period, so a build that runs meanwhile keeps what it
has written, if it takes less than that; and publishing looks once more whether all is there. A
name that no build gives is never touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise

from pipelines.gc_cache import CACHE, is_of_cache, unneeded
from pipelines.publish import locked, named_files
from pipelines.versions import current_version, read_manifest, versions
from schemas.errors import ContractError
from schemas.manifest import FOLDER, POINTER, Manifest, manifest_name
from workers.sidefiles import DATASET_FILES
from workers.storage.folder import Folder, Stat

_SHARD = r"[0-9a-f]{8}-\d{5,}-\d{3,}"
_SHARD_FILES = (
    re.compile(rf"{re.escape(FOLDER)}/shards/({_SHARD}\.tar)\.json"),
    re.compile(rf"\.index/({_SHARD})\.npy"),
    re.compile(rf"({_SHARD}\.tar)\.idx"),
    re.compile(rf"({_SHARD}\.tar)"),
)
"""In the order in which they are removed: without its receipt, a shard does not count as done."""
_TABLE = re.compile(rf"{re.escape(FOLDER)}/(captions|ledger|files)-[0-9a-f]{{16}}\.parquet")
_MANIFEST = re.compile(rf"{re.escape(FOLDER)}/manifest-\d{{6}}\.json")
_DRAFT = re.compile(r"\.(.+)\.\d+-[0-9a-f]{8}\.tmp")


@dataclass(frozen=True)
class Limits:
    """What may go: nothing that was written after `before_s`, in seconds since 1970."""

    before_s: float
    keep: int | None = None
    """Versions to keep beside the published one, the newest; None keeps all."""
    cache: bool = False


@dataclass(frozen=True)
class Removal:
    """A file to remove."""

    kind: str
    path: str
    size: int


@dataclass(frozen=True)
class Swept:
    """What was removed, or would be, and what a person should know beside it."""

    removals: list[Removal]
    notes: list[str]


def collect(root: Folder, limits: Limits, *, dry_run: bool = False) -> Swept:
    """Remove what may go; on a dry run, only say what.

    Raises ContractError where there is no data set, or a manifest cannot be read: nothing is
    removed then.
    """
    if not root.list(FOLDER):
        raise ContractError(f"{root.url} holds no data set")
    with nullcontext() if dry_run else locked(root):
        found = _found(root, limits)
        for removal in () if dry_run else found.removals:
            root.delete(removal.path)
    return found


def _found(root: Folder, limits: Limits) -> Swept:
    """In the order in which it is to be removed."""
    files = dict(root.list())
    published = current_version(root)
    manifests = {number: read_manifest(root, number) for number in versions(root)}
    if published is not None and published not in manifests:
        raise ContractError(f"{root.url}/{POINTER} names version {published}, which is not there")
    going = _old_versions(files, list(manifests), published, limits)
    staying = [manifest for number, manifest in manifests.items() if number not in going]
    removals = [_removal("manifest", manifest_name(number), files) for number in going]
    removals += _unnamed(files, staying, limits)
    removals += [
        Removal("draft", path, stat.size)
        for path, stat in root.drafts()
        if stat.modified_s < limits.before_s and _is_draft(path)
    ]
    notes: list[str] = []
    if limits.cache:
        cached = {path: stat for path, stat in files.items() if path.startswith(f"{CACHE}/")}
        current = manifests[published] if published else None
        paths, notes = unneeded(root, current, cached, limits.before_s)
        removals += [_removal("cache", path, files) for path in paths]
    return Swept(removals, notes)


def _removal(kind: str, path: str, files: dict[str, Stat]) -> Removal:
    return Removal(kind, path, files[path].size)


def _old_versions(
    files: dict[str, Stat], numbers: Sequence[int], published: int | None, limits: Limits
) -> list[int]:
    """Versions to remove: neither among the newest nor published, and not followed by another one
    a short while ago, as then a trainer may still read them.
    """
    if limits.keep is None:
        return []
    followed_s = {
        number: files[manifest_name(after)].modified_s for number, after in pairwise(numbers)
    }
    old = numbers[: max(0, len(numbers) - limits.keep)]
    return [
        number
        for number in old
        if number != published and followed_s.get(number, limits.before_s) < limits.before_s
    ]


def _unnamed(
    files: dict[str, Stat], manifests: Sequence[Manifest], limits: Limits
) -> Iterator[Removal]:
    """Files of shards, and tables, that none of these manifests names."""
    named = {name for manifest in manifests for name in named_files(manifest)}
    shards: dict[str, list[str]] = {}
    for pattern in _SHARD_FILES:
        for path in files:
            if match := pattern.fullmatch(path):
                shards.setdefault(f"{match[1].removesuffix('.tar')}.tar", []).append(path)
    for shard, paths in sorted(shards.items()):
        newest_s = max(files[path].modified_s for path in paths)
        if shard not in named and newest_s < limits.before_s:
            yield from (_removal("shard", path, files) for path in paths)
    for path, stat in files.items():
        if _TABLE.fullmatch(path) and path not in named and stat.modified_s < limits.before_s:
            yield _removal("table", path, files)


def _is_draft(path: str) -> bool:
    """Whether a build writes a file of the name that this draft was to get."""
    folder, _, name = path.rpartition("/")
    while match := _DRAFT.fullmatch(name):
        name = match[1]
    final = f"{folder}/{name}".lstrip("/")
    patterns = (*_SHARD_FILES, _TABLE, _MANIFEST)
    ours = any(pattern.fullmatch(final) for pattern in patterns)
    return ours or final in (POINTER, *DATASET_FILES) or is_of_cache(final)
