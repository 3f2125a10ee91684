"""Data sets for the stream benchmark: packs of one JPEG each, and one of very many shards.

The JPEGs are of 448 x 448 pixels with noise, about 75 kB, each another one; or the same kind from
tars that are given.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from patchpack.arrays import ARRAYS, Arrays
from patchpack.header import ITEM_COLUMNS, SAMPLE_COLUMNS
from patchpack.layout import (
    Cost,
    Pack,
    empty_arrays,
    encode,
    filler,
    image,
    pack_key,
    shard_name,
)
from workers.durable import write_whole
from workers.sidefiles import ShardCount, index_of, write_dataset_files, write_shard_files
from workers.storage.local import LocalFolder
from workers.tarwriter import shard_writer

LANES = 2
SIDE = 448
TOKENS, START, PATCHES = 400, 20, 256
"""Of a pack; its picture is 448 x 448, 32 x 32 patches, merged by 2."""


def write_data_set(root: Path, tars: Sequence[Path], count: int, rows: int) -> list[Path]:
    """Packs with the first `count` JPEGs of these tars, or of our own without any, `rows` in a
    shard; the shards.
    """
    pictures = islice(_jpegs(tars) if tars else map(_noisy_jpeg, range(count)), count)
    stripes = range(-(-count // (rows * LANES)))
    return _write(root, stripes, rows, lambda number: _pack(number, next(pictures)))


def write_many_shards(root: Path, shards: int) -> list[Path]:
    """As many shards of two packs each."""
    return _write(root, range(shards // LANES), 2, lambda number: _pack(number, b"\xff\xd8"))


def _write(root: Path, stripes: range, rows: int, pack: Any) -> list[Path]:
    digest = hashlib.sha256(str((stripes, rows)).encode()).hexdigest()
    entries, paths = [], []
    for stripe in stripes:
        for lane in range(LANES):
            path = root / shard_name(digest, stripe, lane)
            first = stripe * rows
            headers = []
            with shard_writer(path) as writer:
                for row in range(first, first + rows):
                    one: Pack = pack(row * LANES + lane)
                    key = pack_key(digest, row * LANES + lane)
                    header = replace(one.header, key=key, lane=lane, row=row)
                    writer.add_pack(key, *encode(replace(one, header=header)))
                    headers.append(header)
                summary = writer.finish()
                write_shard_files(path, index_of(summary.packs, headers))
            paths.append(path)
            entries.append(
                {
                    "name": path.name,
                    "stripe": stripe,
                    "lane": lane,
                    "packs": rows,
                    "fillers": 0,
                    "size": summary.size,
                    "sha256": summary.sha256,
                }
            )
    partition = {
        "name": "all",
        "rows": len(stripes) * rows,
        "packing": {"bundle": 1},
        "shards": entries,
    }
    manifest = {"format": 1, "version": 1, "lanes": LANES, "partitions": [partition]}
    write_whole(root / ".patchpack/manifest-000001.json", json.dumps(manifest).encode())
    write_whole(root / ".patchpack/current.json", b'{"version": 1}')
    counts = [ShardCount(path.name, rows) for path in paths]
    write_dataset_files(LocalFolder(root), "stream", counts, ["*.tar"])
    return paths


def _noisy_jpeg(number: int) -> bytes:
    """Waves under noise: as large as a photograph, and no two alike."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    waves = [np.sin(rng.uniform(3, 40) * x + rng.uniform(3, 40) * y) for _ in range(3)]
    noise = rng.normal(0, 16, (SIDE, SIDE, 1))
    pixels = np.clip(127 + 80 * np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg", quality=82)
    return buffer.getvalue()


def _jpegs(tars: Sequence[Path]) -> Iterator[bytes]:
    """Over and over."""
    while True:
        for path in tars:
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.name.endswith(".jpg"):
                        content = tar.extractfile(member)
                        assert content is not None
                        yield content.read()


def full_pack(samples: int) -> Pack:
    """One pack of so many samples like those of the others."""
    one = _pack(0, b"\xff\xd8")
    header, arrays = one.header, one.arrays
    lists = {name: getattr(header, name) * samples for name in (*SAMPLE_COLUMNS, *ITEM_COLUMNS)}
    lists["item_sample"] = list(range(samples))
    lists["item_start"] = [number * TOKENS + START for number in range(samples)]
    lists["item_tensor"] = [f"image.{number:05d}" for number in range(samples)]
    columns = {name: np.concatenate([getattr(arrays, name)] * samples) for name in ARRAYS}
    columns |= {name: np.arange(samples, dtype=np.int32) for name in ("part_item", "grid_item")}
    return Pack(
        replace(
            header,
            length=samples * TOKENS,
            cu_seqlens=[number * TOKENS for number in range(samples + 1)],
            **lists,
        ),
        Arrays(**columns),
        [*one.payloads] * samples,
    )


def _pack(number: int, jpeg: bytes) -> Pack:
    """One sample that shows a picture, then says what is on it."""
    empty = filler(key="0", lane=0, row=0, positions="mrope/max_thw", recipe="0")
    header = replace(
        empty.header,
        filler=False,
        length=TOKENS,
        cost=Cost(tokens=TOKENS, patches=1024, attention=TOKENS**2, vit_attention=1024**2),
        cu_seqlens=[0, TOKENS],
        loss_tokens=[TOKENS - START - PATCHES],
        sample_id=[f"bench/{number:08d}"],
        source=["bench"],
        origin=[f"{number:08d}.jpg"],
        sha256=["0" * 64],
        item_sample=[0],
        item_kind=["image"],
        item_start=[START],
        item_length=[PATCHES],
        item_tensor=["image.00000"],
        item_format=["jpeg"],
        item_source_wh=[[SIDE, SIDE]],
        item_resized_wh=[[SIDE, SIDE]],
        policy=["qwen2_vl/qwen_vl_utils"],
        merge=[2],
        seconds_per_grid=[0.0],
    )
    return Pack(header, _arrays(number), (image(jpeg),))


def _arrays(number: int) -> Arrays:
    kind = np.zeros(TOKENS, np.uint8)
    kind[START : START + PATCHES] = 1
    loss = np.zeros(TOKENS, np.uint8)
    loss[START + PATCHES :] = 1
    side = np.array([[SIDE, SIDE]], np.int32)
    return replace(
        empty_arrays(),
        tokens=np.random.default_rng(number).integers(0, 256, TOKENS).astype(np.int32),
        token_kind=kind,
        loss=loss,
        payload=np.ones(1, np.uint8),
        orientation=np.ones(1, np.uint8),
        alpha=np.zeros(1, np.uint8),
        canvas_wh=side,
        paste_xy=np.zeros((1, 2), np.int32),
        pad_rgb=np.zeros((1, 3), np.uint8),
        view_wh=side,
        resample=np.zeros(1, np.uint8),
        transposed=np.zeros(1, np.uint8),
        thumbnail=np.zeros(1, np.uint8),
        thumbnail_of=np.zeros(1, np.uint8),
        thumbnail_wh=np.zeros((1, 2), np.int32),
        thumbnail_resized_wh=np.zeros((1, 2), np.int32),
        thumbnail_xy=np.zeros((1, 2), np.int32),
        runs=np.ones(1, np.int32),
        part_item=np.zeros(1, np.int32),
        parts=np.array([[16, 16, 0]], np.int32),
        grid_item=np.zeros(1, np.int32),
        grid_thw=np.array([[1, 32, 32]], np.int32),
    )
