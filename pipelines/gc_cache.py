"""What of the cache the published version does not need.

The cache lies in `.cache` of the data set and serves it alone. A build could make all of it again,
so a mistake here costs time and nothing else. Kept is what a build of the published version would
look for:

- tables whose content the manifest names, and what follows from these: ids, addresses, and what
  later partitions may not repeat;
- containers of payloads with at least one that such a table of addresses asks for; all of them,
  where the addresses of a partition are not there, as then nobody knows;
- of every source file of the version the newest index, and the bytes that were unpacked for it.

Plans that came before a picture was known not to decode are not among it: of a partition with such
pictures a build makes its plan once more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.duplicates import known_key
from pipelines.plan import ids_key
from pipelines.published import published_files
from pipelines.recipe import Output
from pipelines.recorded import asked_for
from pipelines.render import addresses_key
from pipelines.steps import scratch_of
from pipelines.store import Store
from schemas.manifest import Manifest, PartitionEntry
from workers.payloads import RenderConfig
from workers.storage.folder import Folder, Stat, folder_of

CACHE = ".cache"
NAMED = ("surveyed", "signals", "asked", "captioned", "tokenized", "selected", "sized", "packed")
"""Stages whose tables a manifest names by their content."""

_FILE = re.compile(
    rf"{re.escape(CACHE)}/(indexed|ids|known|addressed|contaminated|rendered|scored|unpacked|redo|{'|'.join(NAMED)})"
    r"/([0-9a-f]{32})\.(?:arrow|json|bin|tar)"
)
_READERS = 16

Files = Mapping[str, Stat]
Name = tuple[str, str]
"""Of an output: its stage, and the digits that its files are named by."""


def is_of_cache(path: str) -> bool:
    """Whether a build gives files such names, below the data set."""
    return _FILE.fullmatch(path) is not None


def unneeded(
    root: Folder, manifest: Manifest | None, files: Files, before_s: float
) -> tuple[list[str], list[str]]:
    """Of these files of the cache those that may go, written before `before_s`; and notes for a
    person.
    """
    if manifest is None:
        return [], ["nothing is published: the cache stays as it is"]
    outputs: dict[Name, list[str]] = {}
    for path in files:
        if match := _FILE.fullmatch(path):
            outputs.setdefault((match[1], match[2]), []).append(path)
    written_s = {name: max(files[path].modified_s for path in outputs[name]) for name in outputs}
    old = {name for name in outputs if written_s[name] < before_s}
    tables = _named(root, manifest, old) | {
        ("ids", ids_key(entry.stages.get("as_found", entry.stages["surveyed"]))[:32])
        for entry in manifest.partitions
    }
    tables |= {("known", _known(manifest, entry)) for entry in manifest.partitions}
    addressed = {("addressed", _addresses(manifest, entry)) for entry in manifest.partitions}
    needed = tables | addressed | _indexes(root, manifest, written_s)
    notes = []
    if addressed <= outputs.keys():
        needed |= _containers(root, addressed, old)
    else:
        needed |= {name for name in old if name[0] == "rendered"}
        notes.append("the cache lacks addresses of the published version: all payloads stay")
    going = sorted(old - needed)
    # the receipt first: without it the rest does not count as done
    return [path for name in going for path in sorted(outputs[name], key=_is_no_receipt)], notes


def _is_no_receipt(path: str) -> bool:
    return not path.endswith(".json")


def _named(root: Folder, manifest: Manifest, names: Collection[Name]) -> set[Name]:
    """Those tables whose content the manifest names."""
    digests = {
        (stage, digest)
        for entry in manifest.partitions
        for stage in NAMED
        for digest in entry.stages.get(stage, [])
    } | {
        ("surveyed", digest)
        for entry in manifest.partitions
        for name in ("as_found", "between")
        for digest in entry.stages.get(name, [])
    }
    receipts = _receipts(root, [name for name in names if name[0] in NAMED])
    return {name for name, receipt in receipts if (name[0], receipt.get("digest")) in digests}


def _receipts(root: Folder, names: Collection[Name]) -> list[tuple[Name, dict[str, object]]]:
    """The receipts of these outputs that can be read."""

    def read(name: Name) -> dict[str, object]:
        try:
            receipt = json.loads(root.read_whole(f"{CACHE}/{'/'.join(name)}.json"))
        except (FileNotFoundError, ValueError):
            return {}
        return receipt if isinstance(receipt, dict) else {}

    with ThreadPoolExecutor(_READERS) as pool:
        return list(zip(names, pool.map(read, names), strict=True))


def _known(manifest: Manifest, entry: PartitionEntry) -> str:
    """How a build of the recipe names what later partitions may not repeat of a partition."""
    [selected] = entry.stages["selected"]
    surveyed, signals = entry.stages["surveyed"], entry.stages.get("signals", [])
    dedup = manifest.recipe["select"].get("dedup", {})
    return known_key(dedup, selected, surveyed, signals)[:32]


def _addresses(manifest: Manifest, entry: PartitionEntry) -> str:
    """How a build with the libraries that are here names the addresses of a partition."""
    recipes = {**manifest.older_recipes, manifest.recipe_digest: manifest.recipe}
    section = recipes[entry.recipe_digest]["render"]
    names = ("payload", "codec", "resampler", "encoder")
    config = RenderConfig(**{name: section[name] for name in names if name in section})
    [sized] = entry.stages["sized"]
    return addresses_key(config, sized, entry.stages["surveyed"])[:32]


def _containers(root: Folder, addressed: Collection[Name], names: Collection[Name]) -> set[Name]:
    """Those containers that hold a payload which one of these tables of addresses asks for."""
    store = Store(folder_of(f"{root.url}/{CACHE}"), scratch_of(Output(path=root.url)))
    tables = [store.read(*name) for name in addressed]
    asked = pc.unique(pa.concat_arrays([pa.array([], pa.string()), *map(asked_for, tables)]))

    def is_asked_for(name: Name) -> bool:
        if store.folder.stat(store.path(*name, ".arrow")) is None:
            return False
        return bool(pc.any(pc.is_in(store.read(*name)["key"], value_set=asked)).as_py())

    containers = [name for name in names if name[0] == "rendered"]
    with ThreadPoolExecutor(_READERS) as pool:
        wanted = pool.map(is_asked_for, containers)
        return {name for name, is_wanted in zip(containers, wanted, strict=True) if is_wanted}


def _indexes(root: Folder, manifest: Manifest, written_s: Mapping[Name, float]) -> set[Name]:
    """Indexes, and what was unpacked beside them, of the version's files as they were last seen."""
    paths = {file.path for file in published_files(root, manifest).files}
    by_age = sorted((name for name in written_s if name[0] == "indexed"), key=written_s.__getitem__)
    seen: dict[Name, tuple[str, str]] = {}
    for name, receipt in _receipts(root, by_age):
        match receipt.get("inputs"):
            case [{"path": str(path)} as state]:
                seen[name] = path, json.dumps(state, sort_keys=True)
            case [] | None if receipt:  # of a folder of media, which is not unpacked
                seen[name] = "", ""
    newest = {path: state for path, state in seen.values() if path in paths} | {"": ""}
    return {
        (stage, key)
        for (_, key), (path, state) in seen.items()
        if newest.get(path) == state
        for stage in ("indexed", "unpacked")
    }
