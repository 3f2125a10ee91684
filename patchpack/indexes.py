"""The indexes of shards, read, held against the manifest, and kept as long as they are of use."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchpack.cache import Cache, Wanted
from patchpack.container import FormatError
from patchpack.dataset import Dataset, Shard
from patchpack.errors import damage
from patchpack.index import Index, decode_index
from patchpack.order import Ints
from patchpack.transfer import is_remote
from patchpack.ustar import END

_AT_ONCE = 8
_ABOVE_ASCII = np.uint64(0x8080808080808080)
_NUMBERS = ("offset", "size", "header_offset", "header_size", "header_crc32")
NUMBERS = (*_NUMBERS, "arrays_offset", "arrays_size", "arrays_crc32")


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """What a reader wants of an index, n packs."""

    keys: npt.NDArray[np.bytes_]  # [n]
    numbers: Ints  # [n, 8] as NUMBERS names them
    loss_tokens: Ints  # [n]


class Indexes:
    """At most `most` are kept, those used last."""

    def __init__(self, cache: Cache | None, most: int) -> None:
        self._cache = cache
        self._most = most
        self._kept: OrderedDict[str, Columns] = OrderedDict()

    def of(self, wanted: Sequence[tuple[Dataset, Shard]]) -> list[Columns]:
        """Of the indexes of these shards. Raises DamageError for one that is missing or wrong."""
        unique = {pair[1].sha256: pair for pair in wanted}
        missing = [pair for digest, pair in unique.items() if digest not in self._kept]
        if any(is_remote(dataset.root) for dataset, _ in missing):
            with ThreadPoolExecutor(_AT_ONCE, "patchpack-index") as pool:
                loaded = list(pool.map(self._load, missing))
        else:
            loaded = [self._load(pair) for pair in missing]
        for (_, shard), index in zip(missing, loaded, strict=True):
            self._kept[shard.sha256] = index
        found = [self._kept[shard.sha256] for _, shard in wanted]
        for _, shard in wanted:
            self._kept.move_to_end(shard.sha256)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found

    def _load(self, pair: tuple[Dataset, Shard]) -> Columns:
        dataset, shard = pair
        name = f".index/{shard.name.removesuffix('.tar')}.npy"
        try:
            index = decode_index(self._read(dataset, shard, name))
            _check(index, shard)
        except FileNotFoundError:
            raise damage(name, "", 0, "the index is not there") from None
        except FormatError as error:
            if self._cache:
                self._cache.remove(f"{shard.sha256}-index")
            raise damage(name, "", 0, str(error)) from None
        numbers = np.stack([index[column].astype(np.int64) for column in NUMBERS], axis=1)
        return Columns(index["key"].copy(), numbers, index["loss_tokens"].astype(np.int64))

    def _read(self, dataset: Dataset, shard: Shard, name: str) -> bytes:
        if not is_remote(dataset.root):
            return Path(dataset.root, name).read_bytes()
        assert self._cache is not None
        url = f"{dataset.root}/{name}"
        descriptor = self._cache.open(Wanted(url, f"{shard.sha256}-index", 0, None))
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            return file.read()


def _check(index: Index, shard: Shard) -> None:
    """Raises FormatError unless these are the packs that the manifest promises."""
    if len(index) != shard.rows:
        raise FormatError(f"{len(index)} packs, the manifest says {shard.rows}")
    expected = np.arange(shard.first_row, shard.first_row + shard.rows)
    if (index["lane"] != shard.lane).any() or (index["row"] != expected).any():
        raise FormatError(f"lane, row: not those of lane {shard.lane} from row {shard.first_row}")
    if (np.ascontiguousarray(index["key"]).view(np.uint64) & _ABOVE_ASCII).any():
        raise FormatError("key: not ASCII")
    end = int(index["offset"][-1] + index["size"][-1])
    if end + len(END) != shard.size:
        raise FormatError(f"size: packs end at {end}, the manifest says {shard.size} bytes")
