"""Packs a second that a trainer reads, beside bare loops over the same bytes and beside peers.

    python -m benchmarks.stream [--source 'DIR/*.tar'] [--save]

Packs of one JPEG of about 75 kB, in the page cache. One process on one core, unless a row says two:
- raw: the bytes of both members; beside `pread` at the offsets of the index, and webdataset
- checked: crc32 of both, tar headers and padding; beside `pread` + crc32
- parsed: `Pack`s, checked; beside the sum of `pread`, crc32 and `decode`
- two threads, raw; beside webdataset with two DataLoader workers
- the first pack after the imports, and memory at the end of an epoch, each in a process of its own
- the first pack after resuming in the middle of a data set of 1,000 shards
Megatron-Energon and litdata are printed beside them where they are installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch.utils.data

from benchmarks.kit.machine import REPOSITORY
from benchmarks.kit.report import Target, arguments, report, say, work_folder
from benchmarks.kit.timing import in_turn, medians, one_core
from benchmarks.source import Wanted, tars_for
from benchmarks.stream_packs import write_data_set, write_many_shards
from patchpack import IO, PackedShards, decode
from patchpack.index import decode_index

Spans = list[tuple[Path, list[tuple[int, ...]]]]

_PROBE = """
import json, resource, sys, time
import torch.utils.data
from patchpack import PackedShards
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6
root, state, whole = json.loads(sys.argv[1])
before, began = resident(), time.perf_counter()
reader = PackedShards(root)
if state:
    reader.load_state_dict(state)
packs = iter(reader)
next(packs)
first = time.perf_counter() - began
most = resident()
for number, pack in enumerate(packs if whole else ()):
    if number % 32 == 0:
        most = max(most, resident())
print(json.dumps([first, most - before]))
"""


def spans_of(shards: Sequence[Path]) -> Spans:
    """Offsets, sizes and checksums of all packs, as Python numbers."""
    names = ("offset", "size", "header_offset", "header_size", "header_crc32")
    columns = (*names, "arrays_offset", "arrays_size", "arrays_crc32")
    found: Spans = []
    for shard in shards:
        index = decode_index((shard.parent / ".index" / f"{shard.stem}.npy").read_bytes())
        found.append((shard, list(zip(*(index[name].tolist() for name in columns), strict=True))))
    return found


def bare(spans: Spans, work: Callable[[bytes, tuple[int, ...]], object]) -> int:
    """`pread` of every pack, and something done with it; how many there were."""
    count = 0
    for path, packs in spans:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            for pack in packs:
                data = os.pread(descriptor, pack[1], pack[0])
                work(data, pack)
                count += 1
        finally:
            os.close(descriptor)
    return count


def bare_pread(shards: Sequence[Path]) -> int:
    """Read the index, then each pack that it names."""
    count = 0
    for path in shards:
        index = np.load(path.parent / ".index" / f"{path.stem}.npy")
        descriptor = os.open(path, os.O_RDONLY)
        for offset, size in zip(index["offset"].tolist(), index["size"].tolist(), strict=True):
            data = os.pread(descriptor, size, offset)
            count += bool(data)
        os.close(descriptor)
    return count


def checked(data: bytes, pack: tuple[int, ...]) -> bool:
    """Whether both members have their crc32."""
    offset, _, header, header_size, header_crc, arrays, arrays_size, arrays_crc = pack
    view = memoryview(data)
    right = zlib.crc32(view[header - offset :][:header_size]) == header_crc
    return right and zlib.crc32(view[arrays - offset :][:arrays_size]) == arrays_crc


def parsed(data: bytes, pack: tuple[int, ...]) -> object:
    """crc32 and `decode`."""
    offset, _, header, header_size, _, arrays, arrays_size, _ = pack
    assert checked(data, pack)
    view = memoryview(data)
    return decode(
        bytes(view[header - offset :][:header_size]), view[arrays - offset :][:arrays_size]
    )


def consumed(packs: Iterable[object]) -> int:
    """How many there were."""
    count = 0
    for _ in packs:
        count += 1
    return count


def reader_of(root: Path, threads: int, *, check: bool) -> PackedShards:
    """A reader of one rank."""
    return PackedShards(root, check=check, io=IO(threads=threads))


def webdataset_of(shards: Sequence[Path], workers: int) -> Iterable[object]:
    """Raw members."""
    import webdataset

    dataset = webdataset.WebDataset([str(path) for path in shards], shardshuffle=False)
    if not workers:
        return dataset  # type: ignore[no-any-return]
    loader: Iterable[object] = torch.utils.data.DataLoader(
        dataset, batch_size=32, num_workers=workers, collate_fn=list
    )
    return (sample for batch in loader for sample in batch)  # type: ignore[attr-defined]


def energon_of(root: Path) -> Iterable[object]:
    """Raw members, without shuffling."""
    from megatron import energon

    class Raw(energon.DefaultTaskEncoder):  # type: ignore[misc]
        cookers = (energon.Cooker(energon.stateless(_cook)),)
        decoder = None

    dataset = energon.get_train_dataset(
        root,
        batch_size=None,
        shuffle_buffer_size=None,
        max_samples_per_sequence=None,
        worker_config=energon.WorkerConfig(rank=0, world_size=1, num_workers=0),
        task_encoder=Raw(),
        repeat=False,
    )
    loader: Iterable[object] = energon.get_loader(dataset)
    return loader


def _cook(sample: dict[str, Any]) -> dict[str, Any]:
    return sample


def litdata_of(root: Path, shards: Sequence[Path]) -> Iterable[object]:
    """The same bytes in chunks of its own format."""
    import litdata  # not among our pins: it holds others back

    out = root.parent / "litdata"
    if not out.exists():
        items = [(path, *pack[:2]) for path, packs in spans_of(shards) for pack in packs]
        litdata.optimize(_whole_pack, items, str(out), chunk_bytes="64MB", num_workers=1)
    dataset: Iterable[object] = litdata.StreamingDataset(str(out))
    return dataset


def _whole_pack(item: tuple[Path, int, int]) -> bytes:
    path, offset, size = item
    with path.open("rb") as file:
        return os.pread(file.fileno(), size, offset)


def rate(work: Callable[[], int]) -> float:
    """Packs a second."""
    began = time.perf_counter()
    return work() / (time.perf_counter() - began)


def probe(root: Path, state: dict[str, Any] | None, *, whole: bool) -> tuple[float, float]:
    """Seconds to the first pack, megabytes above the imports, in a fresh process."""
    told = json.dumps([str(root), state, whole])
    command = [sys.executable, "-c", _PROBE, told]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    first, memory = json.loads(done.stdout.splitlines()[-1])
    return first, memory


def peers(root: Path, shards: Sequence[Path]) -> dict[str, Callable[[], float]]:
    """Raw rows of those that are installed, beside webdataset."""
    found: dict[str, Callable[[], float]] = {}
    if find_spec("megatron") and find_spec("megatron.energon"):
        found["energon"] = lambda: rate(lambda: consumed(energon_of(root)))
    if find_spec("litdata"):
        found["litdata"] = lambda: rate(lambda: consumed(litdata_of(root, shards)))
    return found


def measure(root: Path, shards: Sequence[Path], rounds: int) -> dict[str, float]:
    """Packs a second of every side."""
    spans = spans_of(shards)
    alone = {
        "pread": lambda: rate(lambda: bare_pread(shards)),
        "raw": lambda: rate(lambda: consumed(reader_of(root, 0, check=False).members())),
        "pread_crc": lambda: rate(lambda: bare(spans, checked)),
        "checked": lambda: rate(lambda: consumed(reader_of(root, 0, check=True).members())),
        "parts": lambda: rate(lambda: bare(spans, parsed)),
        "parsed": lambda: rate(lambda: consumed(reader_of(root, 0, check=True))),
        "webdataset": lambda: rate(lambda: consumed(webdataset_of(shards, 0))),
        **peers(root, shards),
    }
    together = {
        "two_threads": lambda: rate(lambda: consumed(reader_of(root, 2, check=False).members())),
        "two_threads_checked": lambda: rate(
            lambda: consumed(reader_of(root, 2, check=True).members())
        ),
        "two_threads_parsed": lambda: rate(lambda: consumed(reader_of(root, 2, check=True))),
        "webdataset_two_workers": lambda: rate(lambda: consumed(webdataset_of(shards, 2))),
    }
    bare_pread(shards)  # into the page cache
    with one_core():
        rates = medians(in_turn(rounds, alone))
    return rates | medians(in_turn(rounds, together))


def targets_of(rates: dict[str, float], figures: dict[str, float]) -> list[Target]:
    """What was wanted."""
    return [
        Target("raw / pread", rates["raw"] / rates["pread"], 0.8),
        Target("raw / webdataset", rates["raw"] / rates["webdataset"], 4.0),
        Target("checked / pread + crc32", rates["checked"] / rates["pread_crc"], 0.8),
        Target("parsed / its parts", rates["parsed"] / rates["parts"], 0.7),
        Target(
            "two threads / webdataset with two workers",
            rates["two_threads"] / rates["webdataset_two_workers"],
            4.0,
        ),
        Target("first pack, seconds", figures["first_pack_s"], 0.05, at_most=True),
        Target("memory above torch, MB", figures["memory_mb"], 60.0, at_most=True),
        Target("resume in 1,000 shards, seconds", figures["resume_s"], 1.0, at_most=True),
    ]


def main() -> None:
    """Measure and report."""
    parser = arguments("Packs a second of reading, beside bare loops and peers.")
    parser.add_argument("--source", help="tars with JPEGs, 'DIR/*.tar'; by default made here")
    parser.add_argument("--count", type=int, default=4000, help="packs")
    parser.add_argument("--rows", type=int, default=2000, help="packs a shard")
    options = parser.parse_args()
    with work_folder(options.work) as work:
        tars = tars_for(options.source, work, Wanted(count=1000, kilobytes=75))
        folder = Path(tempfile.mkdtemp(prefix="stream-", dir=work))
        say(f"writing {options.count} packs and a data set of 1,000 shards")
        shards = write_data_set(folder / "packs", tars, options.count, options.rows)
        write_many_shards(folder / "many", 1000)
        rates = measure(folder / "packs", shards, options.rounds)
        middle = PackedShards(folder / "many").state_dict(taken=1000)
        whole = [probe(folder / "packs", None, whole=True) for _ in range(options.rounds)]
        resumed = [probe(folder / "many", middle, whole=False) for _ in range(options.rounds)]
        size = sum(path.stat().st_size for path in shards)
    figures = {
        "first_pack_s": median(first for first, _ in whole),
        "memory_mb": max(memory for _, memory in whole),
        "resume_s": median(first for first, _ in resumed),
    }
    told = {
        "packs": options.count,
        "pack_kilobytes": size / options.count / 1e3,
        "packs_per_second": rates,
        **figures,
    }
    report("stream", told, targets_of(rates, figures), save=options.save)


if __name__ == "__main__":
    main()
