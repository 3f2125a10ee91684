"""explain: where a sample went and why, or what a pack holds; `--extract` writes a pack's parts as
plain files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from patchpack.arrays import ARRAYS
from patchpack.index import decode_index
from patchpack.layout import Pack, decode
from pipelines.versions import read_manifest
from schemas.errors import ContractError
from schemas.manifest import FOLDER, Manifest
from workers.durable import write_whole
from workers.sidefiles import index_name
from workers.storage.folder import Folder, folder_of

Story = dict[str, Any]


def explain(place: Folder | Path, name: str, extract: Path | None) -> Story:
    """The story of a sample id or a pack key. Raises ContractError where the data
    set has neither.
    """
    root = folder_of(place) if isinstance(place, Path) else place
    manifest = read_manifest(root)
    rows = _ledger_rows(root, manifest, name)
    if rows:
        packed = [row for row in rows if row["drop"] is None]
        first = (packed or rows)[0]
        story: Story = {"sample": name}
        story |= {what: first[what] for what in ("source", "origin", "partition")}
        if first["notes"]:
            story["notes"] = first["notes"]
        if captions := _captions(root, manifest, name):
            story["captions"] = captions
        for row in rows:
            if row["drop"]:  # the sample, or another one of the same id
                story[f"dropped, {row['origin']}"] = f"{row['drop']}: {row['message']}"
        if not packed and extract:
            raise ContractError(f"{name} is in no pack ({first['drop']}): nothing to extract")
        if not packed:
            return story
        rows, packs = packed, [row["pack"] for row in packed]
        story |= {
            "copies": len(rows),
            "tokens": rows[0]["tokens"],
            "packs": packs,
            "shards": [row["shard"] for row in rows],
        }
        pack = _find(root, [rows[0]["shard"]], packs[0])
        story |= _sample_items(pack, name)
    else:
        pack = _find(root, _named_alike(manifest, name), name)
        story = {"pack": name, "header": asdict(pack.header)}
    if extract:
        story["extracted"] = _extract(pack, extract)
    return story


def _captions(root: Folder, manifest: Manifest, name: str) -> list[Story]:
    """What models were asked about a sample and said, beside the text that it had."""
    if manifest.captions is None:
        return []
    data = pa.BufferReader(root.read_whole(f"{FOLDER}/{manifest.captions.name}"))
    rows = pq.read_table(data, filters=[("sample_id", "=", name)])
    told: list[Story] = rows.drop_columns(["partition", "sample_id"]).to_pylist()
    return [{key: value for key, value in row.items() if value is not None} for row in told]


def caption_rows(one: Story) -> list[tuple[str, str]]:
    """A request and its answer as people read them, old and new text one below the other."""
    how = f"{one['prompt_version']}, {one['latency_ms']} ms, {one['answer_tokens']} tokens"
    rows = [(f"{one['task']} by {one['model']}", how)]
    for name, score in (("original", "original_score"), ("caption", "score")):
        if one[name]:
            told = f" (similarity {one[score]:.4f})" if score in one else ""
            rows.append((f"  {name}{told}", one[name]))
    if "blank_agrees" in one:
        same = "the same" if one["blank_agrees"] else "another one"
        rows.append(("  to a blank picture", f"{same} was answered"))
    kept = {"caption": "the answer", "original": "the original", "drop": "nothing"}
    why = f": {one['message']}" if "message" in one else ""
    return [*rows, ("  kept", f"{kept[one['decision']]}{why}")]


def _ledger_rows(root: Folder, manifest: Manifest, name: str) -> list[Story]:
    data = pa.BufferReader(root.read_whole(f"{FOLDER}/{manifest.ledger.name}"))
    rows: list[Story] = pq.read_table(data, filters=[("sample_id", "=", name)]).to_pylist()
    return rows


def _named_alike(manifest: Manifest, key: str) -> list[str]:
    """The shards that a pack of this key may lie in: digits of one digest begin both names."""
    digits = key.partition("-")[0]
    return [shard.name for shard in manifest.shards if shard.name.partition("-")[0] == digits]


def _find(root: Folder, shards: Sequence[str], key: str) -> Pack:
    """The pack of this key, by the indexes of the shards."""
    for shard in shards:
        index = decode_index(root.read_whole(index_name(shard)))
        for row in index[index["key"] == key.encode("ascii", "replace")]:
            places = [
                (int(row[f"{name}_offset"]), int(row[f"{name}_size"]))
                for name in ("header", "arrays")
            ]
            return decode(*root.read_ranges(shard, places))
    raise ContractError(f"{root.url} has no sample or pack {key!r}")


def _sample_items(pack: Pack, sample_id: str) -> Story:
    """The media of a sample, as its pack's header has them."""
    number = pack.header.sample_id.index(sample_id)
    header = asdict(pack.header)
    names = (
        "item_kind",
        "item_format",
        "item_source_wh",
        "item_resized_wh",
        "item_length",
        "policy",
        "sha256",
    )
    items = [
        {name: header[name][item] for name in names}
        for item, owner in enumerate(pack.header.item_sample)
        if owner == number
    ]
    span = pack.header.cu_seqlens[number : number + 2]
    return {"place in pack": number, "token span": span, "items": items}


def _extract(pack: Pack, folder: Path) -> list[str]:
    """Write the header as JSON, arrays and features as .npy (bfloat16 as uint16) and pictures under
    their formats; the names written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "header.json", (json.dumps(asdict(pack.header), indent=1) + "\n").encode())
    names = ["header.json"]
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", getattr(pack.arrays, name), allow_pickle=False)
        names.append(f"{name}.npy")
    for item, kind in enumerate(pack.header.item_format):
        for part, payload in enumerate(pack.payloads_of(item)):
            if payload.kind == "feature":
                names.append(f"item-{item:05d}-{part:05d}.npy")
                np.save(folder / names[-1], payload.data, allow_pickle=False)
                continue
            suffix = kind if kind.isalnum() else "bin"  # a header never names a path
            names.append(f"item-{item:05d}-{part:05d}.{suffix}")
            write_whole(folder / names[-1], payload.data.tobytes())
    return names
