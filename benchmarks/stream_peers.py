"""The loaders that the stream benchmark puts beside ours: webdataset, Energon, litdata."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch.utils.data

from patchpack.index import decode_index

Spans = list[tuple[Path, list[tuple[int, ...]]]]


def rate(work: Callable[[], int]) -> float:
    """Packs a second."""
    began = time.perf_counter()
    return work() / (time.perf_counter() - began)


def consumed(packs: Iterable[object]) -> int:
    """How many there were."""
    count = 0
    for _ in packs:
        count += 1
    return count


def spans_of(shards: Sequence[Path]) -> Spans:
    """Offsets, sizes and checksums of all packs, as Python numbers."""
    names = ("offset", "size", "header_offset", "header_size", "header_crc32")
    columns = (*names, "arrays_offset", "arrays_size", "arrays_crc32")
    found: Spans = []
    for shard in shards:
        index = decode_index((shard.parent / ".index" / f"{shard.stem}.npy").read_bytes())
        found.append((shard, list(zip(*(index[name].tolist() for name in columns), strict=True))))
    return found


def webdataset_of(shards: Sequence[Path], workers: int) -> Iterable[object]:
    """Raw members."""
    import webdataset

    raw = webdataset.WebDataset([str(path) for path in shards], shardshuffle=False)
    dataset: Iterable[object] = raw
    if not workers:
        return dataset
    loader: Iterable[list[object]] = torch.utils.data.DataLoader(
        raw, batch_size=32, num_workers=workers, collate_fn=list
    )
    return (sample for batch in loader for sample in batch)


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


def peers(root: Path, shards: Sequence[Path]) -> dict[str, Callable[[], float]]:
    """Raw rows of those that are installed, beside webdataset."""
    found: dict[str, Callable[[], float]] = {}
    if find_spec("megatron") and find_spec("megatron.energon"):
        found["energon"] = lambda: rate(lambda: consumed(energon_of(root)))
    if find_spec("litdata"):
        found["litdata"] = lambda: rate(lambda: consumed(litdata_of(root, shards)))
    return found
