"""One directory of shards, opened unchanged by the readers that people have."""

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
import webdataset
from megatron.energon import (
    Cooker,
    DefaultTaskEncoder,
    WorkerConfig,
    get_loader,
    get_train_dataset,
    stateless,
)

from patchpack import Pack, decode
from patchpack.arrays import ARRAYS
from patchpack.header import HEADER_KINDS
from patchpack.index import INDEX, decode_index
from patchpack.layout import encode, shard_name
from tests.handmade import DIGEST, empty_pack, media_pack, members, text_pack
from workers.sidefiles import (
    ShardCount,
    index_of,
    index_path,
    write_dataset_files,
    write_shard_files,
)
from workers.storage.folder import folder_of
from workers.tarwriter import shard_writer

ROOT = Path(__file__).parents[1]
OLD_DIGEST = "deadbeef" + "0" * 56

# The first shard begins with six packs of text: whoever infers types from the first packs that it
# sees finds nothing in the columns of the items.
PACKS = [
    *[text_pack(number) for number in range(0, 12, 2)],
    *[media_pack(number) for number in range(12, 18, 2)],
    empty_pack(18),
    *[media_pack(number) for number in range(1, 21, 2)],
]
WANTED = {pack.header.key: members(pack) for pack in PACKS}


def write_shard(path: Path, packs: list[Pack]) -> ShardCount:
    with shard_writer(path) as shard:
        for pack in packs:
            shard.add_pack(pack.header.key, *encode(pack))
        index = index_of(shard.finish().packs, [pack.header for pack in packs])
        write_shard_files(path, index)
    return ShardCount(path.name, len(packs))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two lanes, beside a shard of an older version that no reader may see."""
    root = tmp_path_factory.mktemp("data")
    write_shard(root / shard_name(OLD_DIGEST, 0, 0), [text_pack(77)])
    lanes = [PACKS[:10], PACKS[10:]]
    shards = [write_shard(root / shard_name(DIGEST, 0, i), packs) for i, packs in enumerate(lanes)]
    write_dataset_files(folder_of(root), "demo", shards, [f"{DIGEST[:8]}-*.tar"])
    return root


def assert_complete(packs: Iterable[Pack]) -> None:
    """Every pack once, and each with every bit of what was written."""
    found = [(pack.header.key, members(pack)) for pack in packs]
    assert len(found) == len(WANTED)
    assert dict(found) == WANTED


def test_webdataset(root: Path) -> None:
    shards = [str(path) for path in sorted(root.glob(f"{DIGEST[:8]}-*.tar"))]
    dataset = webdataset.WebDataset(shards, shardshuffle=False)
    assert_complete(decode(sample["json"], sample["safetensors"]) for sample in dataset)
    decoded = webdataset.WebDataset(shards, shardshuffle=False).decode()
    assert_complete(decode(sample["json"], sample["safetensors"]) for sample in decoded)


HUGGING_FACE = """
import json, sys
from pathlib import Path
from datasets import load_dataset
from patchpack import decode
from tests.handmade import members

root, out, streaming = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "True"
rows = load_dataset(root, split="train", streaming=streaming)
types = {name: str(kind) for name, kind in rows.features["json"].items()}
(out / "types.json").write_text(json.dumps(types))
for row in rows:
    header, arrays = members(decode(row["json"], row["safetensors"]))
    (out / f"{row['__key__']}.json").write_bytes(header)
    (out / f"{row['__key__']}.safetensors").write_bytes(arrays)
print(len(list(rows)))
"""


def run(script: str, folder: Path, arguments: list[str]) -> str:
    """What the script prints, run in `folder` with a Hugging Face cache of its own, offline."""
    own = {"HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | own,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("streaming", [True, False])
def test_hugging_face(root: Path, tmp_path: Path, streaming: bool) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert int(run(HUGGING_FACE, tmp_path, [str(root), str(out), str(streaming)])) == len(WANTED)
    found = {path.stem: path for path in out.glob("*.safetensors")}
    assert {
        key: (path.with_suffix(".json").read_bytes(), path.read_bytes())
        for key, path in found.items()
    } == WANTED
    types = (out / "types.json").read_text()
    assert "null" not in types
    assert '"seconds_per_grid": "List(Value(\'float64\'))"' in types
    assert '"item_source_wh": "List(List(Value(\'int64\')))"' in types


@stateless  # type: ignore[untyped-decorator]
def cook(sample: dict[str, Any]) -> Pack:
    return decode(sample["json"], sample["safetensors"])


class PackTask(DefaultTaskEncoder):  # type: ignore[misc]
    cookers = (Cooker(cook),)


@pytest.mark.parametrize("workers", [0, 2])
def test_energon_without_prepare(root: Path, workers: int) -> None:
    dataset = get_train_dataset(
        root,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=workers),
        batch_size=None,
        shuffle_buffer_size=None,
        max_samples_per_sequence=None,
        task_encoder=PackTask(),
        repeat=False,
    )
    assert_complete(get_loader(dataset))


def test_tarfile_and_safetensors(root: Path) -> None:
    for path in root.glob(f"{DIGEST[:8]}-*.tar"):
        with tarfile.open(path) as tar:
            for member in tar.getmembers()[1::2]:
                stream = tar.extractfile(member)
                assert stream is not None
                arrays = safetensors.numpy.load(stream.read())
                key = member.name.removesuffix(".safetensors")
                assert arrays["tokens"].dtype == "int32"
                assert safetensors.numpy.save(arrays) == WANTED[key][1]


def test_index_and_positioned_reads(root: Path) -> None:
    packs = []
    for path in sorted(root.glob(f"{DIGEST[:8]}-*.tar")):
        data = path.read_bytes()
        for row in decode_index(index_path(path).read_bytes()):
            header = data[row["header_offset"] :][: row["header_size"]]
            packs.append(decode(header, data[row["arrays_offset"] :][: row["arrays_size"]]))
    assert_complete(packs)


DOCUMENT = (ROOT / "docs" / "format.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_of_the_specification_print_every_key(
    root: Path, tmp_path: Path, example: str
) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "demo").symlink_to(root)
    done = run(example, tmp_path, [])
    assert sorted(done.split()) == sorted(WANTED)


def test_the_specification_names_every_key_array_and_column() -> None:
    first_cells = " ".join(line.split("|")[1] for line in DOCUMENT.splitlines() if "|" in line)
    named = set(re.findall(r"`(\w+)`", first_cells))
    assert named >= HEADER_KINDS.keys() | ARRAYS.keys()
    assert set(re.findall(r"`(\w+)`", DOCUMENT)) >= set(INDEX.names or ())
