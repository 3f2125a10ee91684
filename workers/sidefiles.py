"""What lies beside the shards, so that generic readers open the same directory (docs/format.md).

Of a shard, in the pass that writes it: `.index/<shard>.npy` for our reader (a visible `.parquet`
or `.json` would be taken for the data by Hugging Face) and `<shard>.tar.idx` for Megatron-Energon.
Of a data set, at publish: `.nv-meta/` for Energon and the card for Hugging Face; both name the
shards of the current version only, since versions share a directory. Nothing here holds a time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from patchpack.header import COST_KEYS
from patchpack.index import INDEX, Index, encode_index
from patchpack.layout import Header
from schemas.errors import ContractError
from workers.datacard import card
from workers.durable import write_whole
from workers.storage.folder import Folder
from workers.tarwriter import PackRecord

ENERGON_VERSION = "7.4.1"
"""The release whose layout `.nv-meta` follows; Energon only records it."""

DATASET_FILES = (
    "README.md",
    ".nv-meta/.info.json",
    ".nv-meta/dataset.yaml",
    ".nv-meta/split.yaml",
)
"""What `write_dataset_files` writes."""

_DATASET_YAML = "__module__: megatron.energon\n__class__: CrudeWebdataset\n"


@dataclass(frozen=True, slots=True)
class ShardCount:
    """A shard of a version: its file name and how many packs it holds, fillers included."""

    name: str
    packs: int


def index_of(records: Sequence[PackRecord], headers: Sequence[Header]) -> Index:
    """The index rows of a shard from what the tar writer recorded and the headers, pack by pack."""
    index = np.zeros(len(records), INDEX)
    for row, record, header in zip(index, records, headers, strict=True):
        if record.key != header.key:
            raise ContractError(f"record of pack {record.key} beside the header of {header.key}")
        for name in PackRecord.__slots__:
            row[name] = getattr(record, name)
        for name in ("lane", "row", "filler", "samples"):
            row[name] = getattr(header, name)
        for name in COST_KEYS:
            row[f"cost_{name}"] = getattr(header.cost, name)
        row["tokens"] = header.length
        row["loss_tokens"] = sum(header.loss_tokens)
    return index


def index_name(shard: str) -> str:
    """Where the index of this shard lies, below the data set's folder."""
    return f".index/{shard.removesuffix('.tar')}.npy"


def index_path(shard: Path) -> Path:
    """The same of a local shard."""
    return shard.parent / index_name(shard.name)


def write_shard_files(shard: Path, index: Index) -> None:
    """The index of a shard and its Energon offsets; call before the shard appears."""
    if not len(index):
        raise ContractError(f"{shard.name} holds no pack; Energon refuses an empty shard")
    write_whole(index_path(shard), encode_index(index))
    write_whole(shard.with_name(f"{shard.name}.idx"), energon_offsets(index))


def energon_offsets(index: Index) -> bytes:
    """Little-endian uint64: where each pack starts, then where the last one ends."""
    end = index["offset"][-1:] + index["size"][-1:]
    return np.concatenate([index["offset"], end]).astype("<u8").tobytes()


def write_dataset_files(
    root: Folder, name: str, shards: Sequence[ShardCount], patterns: Sequence[str]
) -> None:
    """The files of a data set that name its current shards, each replaced in one step.

    `patterns` are the globs of the card, one a partition (`3f2a91bc-*.tar`): they match these
    shards and no other version's.
    """
    root.write_whole(".nv-meta/dataset.yaml", _DATASET_YAML.encode())
    root.write_whole(".nv-meta/split.yaml", _split_yaml(shards).encode())
    counts = {shard.name: shard.packs for shard in shards}
    info = {"energon_version": ENERGON_VERSION, "shard_counts": counts}
    # last: its presence is what makes Energon take the directory for a data set
    root.write_whole(".nv-meta/.info.json", (json.dumps(info, indent=2) + "\n").encode())
    root.write_whole("README.md", card(name, patterns).encode())


def _split_yaml(shards: Sequence[ShardCount]) -> str:
    names = "".join(f"  - {json.dumps(shard.name)}\n" for shard in shards)
    return f"split_parts:\n  train:\n{names}  val: []\n  test: []\nexclude: []\n"
