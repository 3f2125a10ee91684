"""Packs a second that a trainer reads, beside bare loops over the same bytes and beside peers.

    python -m benchmarks.stream [--source 'DIR/*.tar'] [--save]

Packs of one JPEG of 448 x 448 pixels and about 75 kB, in the page cache. One
process on one core, unless a row says two:
- raw: the bytes of both members; beside `pread` at the offsets of the index, and webdataset
- checked: crc32 of both, tar headers and padding; beside `pread` + crc32
- parsed: `Pack`s, checked; beside the sum of `pread`, crc32 and `decode`
- two threads, raw; beside webdataset with two DataLoader workers
- pictures: packs parsed and decoded in two DataLoader workers; beside twice what a bare loop of
  `pread` and Pillow decodes on one core
- position ids and `collate` of a pack of 16,000 tokens and 40 pictures
- the first pack after the imports, and memory at the end of an epoch, each in a process of its own
- the first pack after resuming in the middle of a data set of 1,000 shards
Megatron-Energon and litdata are printed beside them where they are installed.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.utils.data
from PIL import Image

from benchmarks.kit.machine import REPOSITORY
from benchmarks.kit.records import tars_of
from benchmarks.kit.report import Target, arguments, report, say, work_folder
from benchmarks.kit.timing import in_turn, medians, one_core
from benchmarks.stream_packs import full_pack, write_data_set, write_many_shards
from benchmarks.stream_peers import Spans, consumed, peers, rate, spans_of, webdataset_of
from patchpack import IO, PackedShards, decode
from patchpack.collate import collate, for_transformers
from patchpack.views import views

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


def reader_of(root: Path, threads: int, *, check: bool) -> PackedShards:
    """A reader of one rank."""
    return PackedShards(root, check=check, io=IO(threads=threads))


def decoded(data: bytes, _: tuple[int, ...]) -> object:
    """The picture, found as a loop that trusts its bytes would."""
    picture = Image.open(io.BytesIO(data[data.index(b"\xff\xd8") :]))
    return np.asarray(picture.convert("RGB"))


def pictures_of(pack: Any) -> list[torch.Tensor]:
    """Of a pack, as tensors, which a DataLoader hands over in shared memory."""
    shown = [view for item in range(pack.header.items) for view in views(pack, item)]
    return [torch.from_numpy(view.copy()) for view in shown]


def pictures_loader(root: Path) -> Iterable[object]:
    """Pictures of all packs, decoded in two workers."""
    reader = reader_of(root, 0, check=True)
    loader: Iterable[object] = torch.utils.data.DataLoader(
        reader, batch_size=None, num_workers=2, collate_fn=pictures_of, prefetch_factor=16
    )
    return loader


def collation_ms(samples: int = 40, times: int = 50) -> float:
    """Milliseconds for position ids, `collate` and tensors of a full pack; the median."""
    pack, spent = full_pack(samples), []
    for _ in range(times):
        began = time.perf_counter()
        for_transformers(collate(pack))
        spent.append(time.perf_counter() - began)
    return 1e3 * median(spent)


def probe(root: Path, state: dict[str, Any] | None, *, whole: bool) -> tuple[float, float]:
    """Seconds to the first pack, megabytes above the imports, in a fresh process."""
    told = json.dumps([str(root), state, whole])
    command = [sys.executable, "-c", _PROBE, told]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    first, memory = json.loads(done.stdout.splitlines()[-1])
    return first, memory


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
        "pictures_bare": lambda: rate(lambda: bare(spans, decoded)),
        "webdataset": lambda: rate(lambda: consumed(webdataset_of(shards, 0))),
        **peers(root, shards),
    }
    together = {
        "two_threads": lambda: rate(lambda: consumed(reader_of(root, 2, check=False).members())),
        "two_threads_checked": lambda: rate(
            lambda: consumed(reader_of(root, 2, check=True).members())
        ),
        "two_threads_parsed": lambda: rate(lambda: consumed(reader_of(root, 2, check=True))),
        "pictures": lambda: rate(lambda: consumed(pictures_loader(root))),
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
        Target(
            "pictures / two workers of a bare loop",
            rates["pictures"] / rates["pictures_bare"] / 2,
            0.9,
        ),
        Target("collation of 16,000 tokens, ms", figures["collation_ms"], 3.0, at_most=True),
        Target("first pack, seconds", figures["first_pack_s"], 0.05, at_most=True),
        Target("memory above torch, MB", figures["memory_mb"], 60.0, at_most=True),
        Target("resume in 1,000 shards, seconds", figures["resume_s"], 1.0, at_most=True),
    ]


def main() -> None:
    """Measure and report."""
    parser = arguments("Packs a second of reading, beside bare loops and peers.")
    parser.add_argument("--source", help="tars with JPEGs of 448 x 448 pixels, 'DIR/*.tar'")
    parser.add_argument("--count", type=int, default=4000, help="packs")
    parser.add_argument("--rows", type=int, default=2000, help="packs a shard")
    options = parser.parse_args()
    with work_folder(options.work) as work:
        tars = tars_of(options.source) if options.source else []
        folder = Path(tempfile.mkdtemp(prefix="stream-", dir=work))
        say(f"writing {options.count} packs and a data set of 1,000 shards")
        shards = write_data_set(folder / "packs", tars, options.count, options.rows)
        write_many_shards(folder / "many", 1000)
        rates = measure(folder / "packs", shards, options.rounds)
        middle = PackedShards(folder / "many").state_dict(taken=1000)
        whole = [probe(folder / "packs", None, whole=True) for _ in range(options.rounds)]
        resumed = [probe(folder / "many", middle, whole=False) for _ in range(options.rounds)]
        size = sum(path.stat().st_size for path in shards)
    with one_core():
        collation = collation_ms()
    figures = {
        "collation_ms": collation,
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
