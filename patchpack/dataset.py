"""One version of a data set: what a reader needs of its manifest.

`.patchpack/current.json` names the published version, `.patchpack/manifest-000001.json` is one and
never changes. A data set is given by its folder or URL, or by the manifest of one version.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from patchpack.container import FormatError
from patchpack.order import Ints
from patchpack.transfer import Retry, is_remote, read_whole, shown

FOLDER = ".patchpack"

_MANIFEST = re.compile(rf"(.*?)/?{re.escape(FOLDER)}/manifest-(\d{{6,}})\.json")
_SHARD = re.compile(r"[0-9a-f]{8}-\d{5,}-\d{3,}\.tar")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Shard:
    """One column of a stripe set."""

    name: str
    size: int
    """Bytes."""
    sha256: str
    lane: int
    rows: int
    first_row: int
    """Of the stripe set, in its partition."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """One version. `stripes[s][lane]` is a shard; stripe sets are in the order of the data set."""

    root: str
    """A folder or a URL, without a slash at the end."""
    version: int
    lanes: int
    bundle: int
    """Packs that a rank reads in a step, as it was packed; 0 where partitions differ."""
    stripes: list[list[Shard]]
    digest: str
    """sha256 of the ordered digests of all shards: what the order follows from."""

    @property
    def rows(self) -> Ints:
        """[stripe sets] rows in each."""
        return np.array([stripe[0].rows for stripe in self.stripes], np.int64)


def open_dataset(place: str | Path, retry: Retry, version: int | None = None) -> Dataset:
    """The published version of a data set, the one whose manifest is named, or a given one.

    Raises FormatError for a damaged manifest, naming file and field; FileNotFoundError where there
    is none.
    """
    root = str(place).rstrip("/")
    found = _MANIFEST.fullmatch(root)
    if found:
        root = found[1] or ("" if root.startswith("/") else ".")
    if version is None:
        version = int(found[2]) if found else _published(root, retry)
    name = f"{FOLDER}/manifest-{version:06d}.json"
    shown_name = f"{_shown(root)}/{name}"
    try:
        manifest = json.loads(read_file(root, name, retry))
        return _dataset(root, version, manifest)
    except FileNotFoundError:
        raise FileNotFoundError(f"{shown_name}: no such version") from None
    except (KeyError, TypeError, ValueError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise FormatError(f"{shown_name}: {what}") from None


def read_file(root: str, name: str, retry: Retry) -> bytes:
    """A small file of a data set, by its path below the root."""
    if is_remote(root):
        return read_whole(f"{root}/{name}", retry)
    return Path(root, name).read_bytes()


def _published(root: str, retry: Retry) -> int:
    name = f"{FOLDER}/current.json"
    try:
        return int(json.loads(read_file(root, name, retry))["version"])
    except FileNotFoundError:
        what = f"{_shown(root)} holds no published data set: {name} is not there"
        raise FileNotFoundError(what) from None
    except (ValueError, KeyError, TypeError):
        raise FormatError(f"{_shown(root)}/{name}: version: expected a number") from None


def _shown(root: str) -> str:
    return shown(root) if is_remote(root) else root


def _dataset(root: str, version: int, manifest: dict[str, Any]) -> Dataset:
    lanes = int(manifest["lanes"])
    if manifest["format"] != 1:
        raise ValueError(f"format: is {manifest['format']!r:.40}, this reader knows 1")
    if manifest["version"] != version or lanes < 1 or lanes & (lanes - 1):
        raise ValueError(f"version, lanes: {manifest['version']!r:.40}, {lanes}")
    stripes: list[list[Shard]] = []
    bundles = set()
    for partition in manifest["partitions"]:
        found = _stripes(partition, lanes)
        stripes += found
        if found:
            bundles.add(int(partition["packing"]["bundle"]))
    digest = hashlib.sha256(" ".join(s.sha256 for stripe in stripes for s in stripe).encode())
    bundle = 0 if len(bundles) > 1 else max(bundles, default=1)
    return Dataset(root, version, lanes, bundle, stripes, digest.hexdigest())


def _stripes(partition: dict[str, Any], lanes: int) -> list[list[Shard]]:
    """The stripe sets of a partition, each with all its lanes in order and equal rows."""
    name = f"partition {partition['name']!s:.100}"
    entries = sorted(partition["shards"], key=lambda entry: (entry["stripe"], entry["lane"]))
    stripes: list[list[Shard]] = []
    first = 0
    for number, group in groupby(entries, key=lambda entry: entry["stripe"]):
        stripe = [_shard(entry, first) for entry in group]
        if number != len(stripes) or [shard.lane for shard in stripe] != list(range(lanes)):
            raise ValueError(f"{name}: shards: stripe set {len(stripes)} lacks lanes of {lanes}")
        if len({shard.rows for shard in stripe}) > 1:
            raise ValueError(f"{name}: shards: the lanes of stripe set {number} have unequal rows")
        stripes.append(stripe)
        first += stripe[0].rows
    if first != partition["rows"]:
        raise ValueError(f"{name}: rows: {partition['rows']}, its shards hold {first}")
    return stripes


def _shard(entry: dict[str, Any], first_row: int) -> Shard:
    name, sha256 = str(entry["name"]), str(entry["sha256"])
    # names become paths and cache keys: nothing else may pass
    if not _SHARD.fullmatch(name) or not _SHA256.fullmatch(sha256):
        raise ValueError(f"shards: name or sha256 of {name!r:.100}")
    rows, size = int(entry["packs"]) + int(entry["fillers"]), int(entry["size"])
    if rows < 1 or size < 1:
        raise ValueError(f"shards: {name}: {rows} packs in {size} bytes")
    return Shard(name, size, sha256, int(entry["lane"]), rows, first_row)
