"""A source that grows by files, and builds of it in this process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import pipelines.finding
from patchpack.index import decode_index
from patchpack.layout import decode
from pipelines.build import Built, build, call
from pipelines.engine import Engine
from pipelines.load_recipe import load_recipe
from pipelines.steps import Workshop
from schemas.manifest import Manifest, PartitionEntry
from tests.pipelines.conftest import Here
from tests.tiny_source import Record, asked, encoded, picture
from workers.sidefiles import index_path

DATE = "date=(?P<date>[0-9-]+)"
ROWS_PER_BLOCK = 4


@dataclass
class Feed:
    """`source/` with one picture an id, and the data set `out/`."""

    folder: Path
    sources: dict[str, str] = field(default_factory=lambda: {"s": "date=*/*.jsonl"})
    """Name to pattern of the files, below `source/`."""
    patterns: dict[str, str] = field(default_factory=lambda: {"s": DATE})
    kinds: dict[str, str] = field(default_factory=dict)
    """Of sources that are not `records`."""
    keys: dict[str, str] = field(default_factory=dict)
    """Further lines of each source."""
    sections: dict[str, Any] = field(default_factory=dict)
    """`section.key` to a value of the recipe."""

    @property
    def source(self) -> Path:
        """Where records and pictures lie."""
        return self.folder / "source"

    @property
    def out(self) -> Path:
        """Where the data set lies."""
        return self.folder / "out"

    def write(self, path: str, ids: Iterable[str | Record]) -> None:
        """A file of records: of an id, one that shows a picture of its own."""
        records = [self._record(one) if isinstance(one, str) else one for one in ids]
        file = self.source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(record) + "\n" for record in records))

    def _record(self, name: str) -> Record:
        return asked(name, self.picture(name))

    def picture(self, name: str) -> str:
        """The path of a picture with this name, written where it is not there."""
        path = self.source / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:3], "big")
            path.write_bytes(encoded(picture(number), "png"))
        return f"images/{name}.png"

    def load(self) -> Path:
        """The recipe, written."""
        lines = ["name = 'feed'"]
        for name, pattern in self.sources.items():
            kind = self.kinds.get(name, "records")
            lines += ["[[sources]]", f"name = '{name}'", f"kind = '{kind}'"]
            lines += [f"path = '{self.source / pattern}'", f"root = '{self.source}'"]
            lines += [f"partition = '{self.patterns[name]}'"] if name in self.patterns else []
            lines += [self.keys[name]] if name in self.keys else []
        defaults = {"pack.max_tokens": 256, "pack.lanes": 2, "select.max_drop_ratio": 1.0}
        sections: dict[str, list[str]] = {}
        for key, value in (defaults | self.sections).items():
            section, _, name = key.partition(".")
            sections.setdefault(section, []).append(f"{name} = {json.dumps(value)}")
        for section, entries in sections.items():
            lines += [f"[{section}]", *entries]
        lines += ["[[policy]]", "kind = 'qwen2_vl'", "[output]", f"path = '{self.out}'", ""]
        path = self.folder / "recipe.toml"
        path.write_text("\n".join(lines))
        return path

    def workshop(self, engine: Engine | None = None) -> Workshop:
        """The surroundings of one build."""
        return Workshop(load_recipe(self.load()), engine or Here())

    def build(
        self,
        engine: Engine | None = None,
        only: Collection[str] = (),
        merge: Sequence[str] = (),
    ) -> Built:
        """Build as things lie."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipelines.finding, "ROWS_PER_BLOCK", ROWS_PER_BLOCK)
            return build(self.workshop(engine), call, only, merge)


def names(day: str, count: int = 6) -> list[str]:
    """Ids of a day."""
    return [f"{day}-{number}" for number in range(count)]


def entries(manifest: Manifest) -> dict[str, PartitionEntry]:
    """The partitions by name, in order."""
    return {entry.name: entry for entry in manifest.partitions}


def on_disk(root: Path, shards: Iterable[Any]) -> dict[str, tuple[int, int]]:
    """Inode and time of change of each of these shards: the same file has the same."""
    stats = {shard.name: (root / shard.name).stat() for shard in shards}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def members(root: Path, entry: PartitionEntry) -> dict[str, list[str]]:
    """The samples of each pack of a partition, by the pack's key."""
    packs: dict[str, list[str]] = {}
    for shard in entry.shards:
        data = (root / shard.name).read_bytes()
        for row in decode_index(index_path(root / shard.name).read_bytes()):
            header = data[row["header_offset"] :][: row["header_size"]]
            arrays = data[row["arrays_offset"] :][: row["arrays_size"]]
            head = decode(header, arrays).header
            packs[head.key] = head.sample_id
    return packs


def sample_ids(root: Path, entry: PartitionEntry) -> list[str]:
    """The samples of a partition, each as often as it is packed, sorted."""
    return sorted(name for pack in members(root, entry).values() for name in pack)


def contents(root: Path, shards: Iterable[Any]) -> Mapping[str, bytes]:
    """The bytes of these shards."""
    return {shard.name: (root / shard.name).read_bytes() for shard in shards}
