"""The manifest: what one version of a data set is. An immutable file a version, and a pointer to
the current one.

`.patchpack/manifest-000001.json` never changes once written; `.patchpack/current.json` is
replaced in one step, so that a reader sees the old version or the new one. Nothing in a manifest
tells the time or where it was built.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import ContractError

FOLDER = ".patchpack"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ShardEntry(_Frozen):
    """One shard file, column `lane` of stripe set `stripe` of its partition."""

    name: str
    stripe: int
    lane: int
    packs: int
    """Packs with samples in them."""
    fillers: int
    size: int
    """Bytes."""
    sha256: str


class Balance(_Frozen):
    """How full and how even the packs of a partition are."""

    fill: float
    """Tokens / (packs x capacity), fillers apart."""
    lower_bound: int
    """No packing has fewer packs: ceil(tokens / capacity)."""
    slowest_over_mean: dict[str, float]
    """Mean over steps of slowest rank / mean rank in modelled time, by number of ranks."""


class PartitionEntry(_Frozen):
    """One partition; the order of partitions is the order of the list."""

    name: str
    digest: str
    """Of all that shapes its shards; its first 8 digits begin the names of shards and packs."""
    stages: dict[str, list[str]]
    """Content digests of the tables that it was made from."""
    samples: int
    instances: int
    rows: int
    packs: int
    fillers: int
    tokens: int
    loss_tokens: int
    patches: int
    balance: Balance
    shards: list[ShardEntry]


class Ledger(_Frozen):
    """The Parquet file with one row an input sample, and its totals: seen = packed
    + all dropped.
    """

    name: str
    sha256: str
    seen: int
    packed: int
    dropped: dict[str, int]


class Manifest(_Frozen):
    """One version."""

    format: int
    version: int
    name: str
    code_version: str
    recipe_digest: str
    recipe: dict[str, Any]
    """What shapes packs, without paths."""
    libraries: dict[str, str]
    lanes: int
    capacity: int
    partitions: list[PartitionEntry]
    ledger: Ledger

    @property
    def shards(self) -> list[ShardEntry]:
        """All shards in order."""
        return [shard for partition in self.partitions for shard in partition.shards]


def manifest_path(root: Path, version: int) -> Path:
    """Where a version's manifest lies."""
    return root / FOLDER / f"manifest-{version:06d}.json"


def pointer_path(root: Path) -> Path:
    """The file that names the current version."""
    return root / FOLDER / "current.json"


def versions(root: Path) -> list[int]:
    """The versions that exist, ascending."""
    return sorted(
        int(path.stem.removeprefix("manifest-"))
        for path in (root / FOLDER).glob(f"manifest-{'[0-9]' * 6}.json")
    )


def current_version(root: Path) -> int | None:
    """The published version, or None where nothing was published. Raises ContractError for a
    damaged pointer.
    """
    path = pointer_path(root)
    try:
        return int(json.loads(path.read_bytes())["version"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ContractError(f"{path}: {error}") from error


def read_manifest(root: Path, version: int | None = None) -> Manifest:
    """A version of a data set, by default the published one. Raises ContractError
    naming the file.
    """
    number = current_version(root) if version is None else version
    if number is None:
        raise ContractError(f"{root} holds no published data set")
    path = manifest_path(root, number)
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ContractError(f"{path}: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ContractError(f"{path}: {place}: {first['msg']}") from error
