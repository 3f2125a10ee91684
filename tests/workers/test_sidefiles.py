import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from datasets import DatasetInfo, Features, Value

from patchpack.container import FormatError
from patchpack.header import HEADER_KINDS
from patchpack.index import INDEX, Index, decode_index, encode_index
from patchpack.layout import Pack, encode
from schemas.errors import ContractError
from tests.handmade import empty_pack, media_pack, text_pack
from workers.datacard import card
from workers.sidefiles import (
    ShardCount,
    energon_offsets,
    index_of,
    index_path,
    write_dataset_files,
    write_shard_files,
)
from workers.storage.folder import folder_of
from workers.tarwriter import shard_writer

PACKS = [text_pack(0), media_pack(1), empty_pack(2)]


def shard(path: Path, packs: list[Pack]) -> Index:
    with shard_writer(path) as writer:
        for pack in packs:
            writer.add_pack(pack.header.key, *encode(pack))
        index = index_of(writer.finish().packs, [pack.header for pack in packs])
        write_shard_files(path, index)
    return index


def test_the_index_has_place_checksum_and_cost_of_every_pack(tmp_path: Path) -> None:
    index = shard(tmp_path / "a.tar", PACKS)
    stored = np.load(tmp_path / ".index" / "a.npy", allow_pickle=False)
    np.testing.assert_array_equal(stored, index)
    assert index["key"].tolist() == [pack.header.key.encode() for pack in PACKS]
    assert index["tokens"].tolist() == [12, 22, 0]
    assert index["loss_tokens"].tolist() == [2, 2, 0]
    assert index["samples"].tolist() == [2, 2, 0]
    assert index["filler"].tolist() == [False, False, True]
    assert index["lane"].tolist() == [0, 1, 0]
    assert index["row"].tolist() == [0, 0, 1]
    assert index["cost_vit_attention"].tolist() == [0, 1296, 0]
    np.testing.assert_array_equal(decode_index(index_path(tmp_path / "a.tar").read_bytes()), index)


def test_records_and_headers_must_be_of_the_same_packs(tmp_path: Path) -> None:
    with shard_writer(tmp_path / "a.tar") as writer:
        writer.add_pack(PACKS[0].header.key, *encode(PACKS[0]))
        records = writer.finish().packs
    with pytest.raises(ContractError, match="00000001"):
        index_of(records, [PACKS[1].header])


def test_no_shard_is_empty(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="holds no pack"):
        write_shard_files(tmp_path / "a.tar", np.zeros(0, INDEX))


def test_energon_offsets_are_where_packs_start_and_the_last_one_ends(tmp_path: Path) -> None:
    index = shard(tmp_path / "a.tar", PACKS)
    offsets = np.fromfile(tmp_path / "a.tar.idx", "<u8")
    assert offsets.tobytes() == energon_offsets(index)
    assert offsets[:-1].tolist() == index["offset"].tolist()
    assert offsets[-1] == (tmp_path / "a.tar").stat().st_size - 1024


def _changed(name: str, row: int, value: int) -> bytes:
    index = np.zeros(2, INDEX)
    index["offset"], index["size"] = [0, 3072], 3072
    index["header_offset"], index["header_size"] = index["offset"] + 512, 10
    index["arrays_offset"], index["arrays_size"] = index["offset"] + 1536, 1536
    decode_index(encode_index(index))
    index[name][row] = value
    return encode_index(index)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY\x01\x00",
        encode_index(np.zeros(3, INDEX))[:-1],
        encode_index(np.zeros(3, INDEX)) + b"x",
        encode_index(np.zeros(3, "<u8")),
        encode_index(np.zeros((1, 3), INDEX)),
        encode_index(np.zeros(3, INDEX)).replace(b"(3,)", b"(9,)"),
        _changed("offset", 0, 512),
        _changed("offset", 1, 1),
        _changed("size", 0, 2**64 - 1),
        _changed("header_size", 1, 2**63),
        _changed("header_size", 1, 5000),
        _changed("arrays_size", 0, 1537),
        _changed("header_offset", 1, 512),
    ],
)
def test_an_index_that_could_mislead_a_reader_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="index"):
        decode_index(data)


def test_dataset_files_name_exactly_these_shards_and_no_time(tmp_path: Path) -> None:
    shards = [ShardCount("3f2a91bc-00000-000.tar", 4), ShardCount("3f2a91bc-00000-001.tar", 4)]
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_dataset_files(folder_of(folder), "demo", shards, ["3f2a91bc-*.tar"])
        contents.append(
            {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.*") if p.is_file()}
        )
    assert contents[0] == contents[1]
    meta = tmp_path / "a" / ".nv-meta"
    split = yaml.safe_load((meta / "split.yaml").read_text())
    assert split["split_parts"] == {"train": [s.name for s in shards], "val": [], "test": []}
    info = json.loads((meta / ".info.json").read_text())
    assert info["shard_counts"] == {s.name: s.packs for s in shards}


def test_the_card_declares_the_type_of_every_header_key() -> None:
    text = card("demo", ["3f2a91bc-*.tar", "00c0ffee-*.tar"])
    front: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    assert front["configs"][0]["data_files"][0]["path"] == ["3f2a91bc-*.tar", "00c0ffee-*.tar"]
    features = DatasetInfo._from_yaml_dict(front["dataset_info"]).features
    assert isinstance(features, Features)
    assert list(features["json"]) == list(HEADER_KINDS)
    assert features["json"]["seconds_per_grid"].feature == Value("float64")
    assert features["json"]["item_source_wh"].feature.feature == Value("int64")
    assert features["safetensors"] == Value("large_binary")
