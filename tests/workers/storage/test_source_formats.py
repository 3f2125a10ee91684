"""Tars, Parquet files and folders of media, read from disk and from S3."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.workers.tars import JPEG, pair, tar_bytes
from workers.sources import folder as tree
from workers.sources import gunzip, parquet, webdataset
from workers.sources.sample import Sample
from workers.sources.tar_members import index
from workers.storage.folder import Folder
from workers.storage.local import LocalFolder

KEYS = [f"{number:03d}" for number in range(40)]


def media_of(folder: Folder, samples: list[Sample]) -> list[bytes]:
    found = []
    for sample in samples:
        assert sample.drop is None, sample.message
        (ref,) = sample.media
        offset, size = ref.span or (0, 1 << 20)
        found.append(folder.read(ref.path, offset, size))
    return found


def test_a_tar_and_a_compressed_one(folder: Folder, tmp_path: Path) -> None:
    data = tar_bytes([member for key in KEYS for member in pair(key)])
    folder.write_whole("d/t.tar", data)
    folder.write_whole("d/z.tar.gz", gzip.compress(data))
    options = webdataset.WebdatasetOptions(id="key")
    table = index(folder, "d/t.tar")
    found = [
        sample
        for block in webdataset.plan(table, "d/t.tar", 16)
        for sample, _ in webdataset.read(folder, block, options, table)
    ]
    assert [sample.sample_id for sample in found] == KEYS
    assert media_of(folder, found) == [JPEG] * len(KEYS)

    gunzip.unpack(folder, "d/z.tar.gz", tmp_path / "cache" / "z", 1 << 30)
    cache = LocalFolder(tmp_path / "cache")
    table = index(cache, "d/z.tar.gz", at="z")
    [block] = webdataset.plan(table, "d/z.tar.gz", 100)
    unpacked = [sample for sample, _ in webdataset.read(cache, block, options, table, at="z")]
    assert [sample.turns for sample in unpacked] == [sample.turns for sample in found]


def test_parquet_in_place_and_copied(folder: Folder, tmp_path: Path) -> None:
    image = {"bytes": JPEG, "path": None}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array([image] * 40, kind), "caption": KEYS})
    options = parquet.ParquetOptions()
    for name, compression in (("plain.parquet", "none"), ("packed.parquet", "snappy")):
        buffer = io.BytesIO()
        pq.write_table(table, buffer, 10, compression=compression, use_dictionary=False)
        folder.write_whole(name, buffer.getvalue())
        [groups] = parquet.containers(folder, name, 256, options)
        rows = parquet.unpack(folder, groups, options, tmp_path / groups.name)
        [block] = parquet.plan(groups, 256)
        found = [sample for sample, _ in parquet.read(rows, block, options)]
        where: Folder = folder if compression == "none" else LocalFolder(tmp_path)
        assert media_of(where, found) == [JPEG] * 40


def test_a_folder_of_media(folder: Folder) -> None:
    for key in KEYS[:5]:
        folder.write_whole(f"in/{key}.jpg", JPEG)
        folder.write_whole(f"in/{key}.txt", key.encode())
    table = tree.index(folder, "in")
    found = [
        sample
        for block in tree.plan(table, "in", 2)
        for sample, _ in tree.read(folder, block, tree.FolderOptions(), table)
    ]
    assert [sample.turns[1].parts[0].text for sample in found] == KEYS[:5]
    assert media_of(folder, found) == [JPEG] * 5
