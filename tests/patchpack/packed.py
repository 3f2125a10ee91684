"""Small data sets written pack by pack, with manifests: what the reader's tests read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from patchpack.layout import Pack, encode, filler, image, pack_key, shard_name
from tests.handmade import PLACE, media_pack, text_pack
from workers.sidefiles import index_of, write_shard_files
from workers.tarwriter import shard_writer


@dataclass
class Packed:
    """A data set in `root`, which grows by `add` and is made visible by `publish`."""

    root: Path
    lanes: int = 4
    bundle: int = 1
    payload: int = 0
    """Bytes of a picture in each pack; packs are text alone where it is 0."""
    partitions: list[dict[str, Any]] = field(default_factory=list)
    loss_tokens: dict[str, int] = field(default_factory=dict)
    """By key, of all packs."""

    def add(self, stripes: Sequence[int], fillers: int = 0) -> Packed:
        """A partition with so many rows in each stripe set, its last packs fillers."""
        digest = hashlib.sha256(f"partition {len(self.partitions)}".encode()).hexdigest()
        shards, first = [], 0
        for stripe, rows in enumerate(stripes):
            for lane in range(self.lanes):
                numbers = [(first + row) * self.lanes + lane for row in range(rows)]
                last = sum(stripes) * self.lanes - fillers
                packs = [self._pack(digest, number, number >= last) for number in numbers]
                shards.append(self._shard(shard_name(digest, stripe, lane), stripe, lane, packs))
            first += rows
        packing = {"bundle": self.bundle}
        name = f"p{len(self.partitions)}"
        self.partitions.append({"name": name, "rows": first, "packing": packing, "shards": shards})
        return self

    def publish(self) -> Path:
        """Make a version of what there is; its manifest."""
        version = len(list(self.root.glob(".patchpack/manifest-*"))) + 1
        manifest = {"format": 1, "version": version, "lanes": self.lanes}
        path = self.root / f".patchpack/manifest-{version:06d}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**manifest, "partitions": self.partitions}))
        (path.parent / "current.json").write_text(json.dumps({"version": version}))
        return path

    @property
    def keys(self) -> list[str]:
        """Of all packs, as they lie."""
        return list(self.loss_tokens)

    def _pack(self, digest: str, number: int, empty: bool) -> Pack:
        key, lane, row = pack_key(digest, number), number % self.lanes, number // self.lanes
        if empty:
            return filler(key=key, lane=lane, row=row, **PLACE)
        rng = np.random.default_rng(number)
        if self.payload:
            data = rng.integers(0, 256, self.payload, np.uint8)
            pack = media_pack(number, [image(data.tobytes())] * 5)
        else:
            pack = text_pack(number, rng.integers(1, 9, number % 3 + 1).tolist())
        return replace(pack, header=replace(pack.header, key=key, lane=lane, row=row))

    def _shard(self, name: str, stripe: int, lane: int, packs: list[Pack]) -> dict[str, Any]:
        with shard_writer(self.root / name) as writer:
            for pack in packs:
                writer.add_pack(pack.header.key, *encode(pack))
                self.loss_tokens[pack.header.key] = sum(pack.header.loss_tokens)
            summary = writer.finish()
            rows = index_of(summary.packs, [pack.header for pack in packs])
            write_shard_files(self.root / name, rows)
        fillers = sum(pack.header.filler for pack in packs)
        return {
            "name": name,
            "stripe": stripe,
            "lane": lane,
            "packs": len(packs) - fillers,
            "fillers": fillers,
            "size": summary.size,
            "sha256": summary.sha256,
        }


def packed(root: Path, stripes: Sequence[int] = (5, 3), lanes: int = 4, **more: Any) -> Packed:
    """One partition, published."""
    root.mkdir(parents=True, exist_ok=True)
    made = Packed(root, lanes, **more).add(stripes, fillers=2)
    made.publish()
    return made
