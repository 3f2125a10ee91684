"""Pack format 1 (docs/format.md): one pack is two members of a WebDataset shard.

`encode` gives buffers to be written one after another, so that payload bytes are never joined;
`decode` gives views of the bytes that it was handed. Both check the same rules, which takes 0.8 ms
for a pack of 8,192 tokens and 20 images of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpack.arrays import (
    ARRAYS,
    OPTIONAL,
    PAYLOADS,
    THUMBNAIL_SOURCES,
    Arrays,
    array_problem,
    empty_arrays,
)
from patchpack.container import DTYPES, Array, Buffer, FormatError, Tensor, parse, serialize
from patchpack.header import FORMAT, Cost, Header, from_json, from_object, to_json

__all__ = [
    "FORMAT",
    "Arrays",
    "Cost",
    "FormatError",
    "Header",
    "Pack",
    "Payload",
    "decode",
    "empty_arrays",
    "encode",
    "feature",
    "filler",
    "image",
    "pack_key",
    "shard_name",
]

MAX_PAYLOADS = 100_000
_PAYLOAD_DIMENSIONS = {"U8": 1, "BF16": 2, "F16": 2, "I8": 2}


@dataclass(frozen=True, eq=False, slots=True)
class Payload:
    """One encoded image, uint8 [bytes], or the features of one view, [n, d].

    `dtype` is the container's: U8 for an image; BF16 (bits, as uint16), F16 or I8 for features.
    """

    dtype: str
    data: Array

    @property
    def kind(self) -> str:
        """`image` or `feature`, the first half of the tensor's name."""
        return "image" if self.dtype == "U8" else "feature"


@dataclass(frozen=True, eq=False, slots=True)
class Pack:
    """One pack; `payloads[k]` is the tensor numbered k."""

    header: Header
    arrays: Arrays
    payloads: Sequence[Payload]

    def payloads_of(self, item: int) -> Sequence[Payload]:
        """The payloads of an item: canvas, then drawn thumbnail; of a video, frame by frame."""
        starts = [*self.header.item_tensor, f"{len(self.payloads):05d}"]
        return self.payloads[int(starts[item][-5:]) : int(starts[item + 1][-5:])]


def image(data: Buffer) -> Payload:
    """An encoded image as payload, without copying it."""
    return Payload("U8", np.frombuffer(data, np.uint8))


FEATURE_DTYPES = {"bfloat16": "BF16", "float16": "F16", "int8": "I8"}
"""Names in `item_format`, and those of the container."""


def feature(data: Buffer, dtype: str, width: int) -> Payload:
    """Rows of features [n, width] as payload, without copying them; `dtype` as in `item_format`."""
    kind = FEATURE_DTYPES[dtype]
    return Payload(kind, np.frombuffer(data, DTYPES[kind]).reshape(-1, width))


def pack_key(partition_digest: str, number: int) -> str:
    """`3f2a91bc-00000042`: unique in a data set, at most 88 bytes, no dot."""
    return f"{partition_digest[:8]}-{number:08d}"


def shard_name(partition_digest: str, stripe: int, lane: int) -> str:
    """`3f2a91bc-00003-002.tar`: partition, stripe set, and the lane that it is a column of."""
    return f"{partition_digest[:8]}-{stripe:05d}-{lane:03d}.tar"


def filler(*, key: str, lane: int, row: int, positions: str, recipe: str) -> Pack:
    """The explicit empty pack that completes the last row of a partition."""
    header = Header(
        key=key,
        filler=True,
        lane=lane,
        row=row,
        length=0,
        cost=Cost(tokens=0, patches=0, attention=0, vit_attention=0),
        cu_seqlens=[0],
        loss_tokens=[],
        sample_id=[],
        source=[],
        origin=[],
        sha256=[],
        item_sample=[],
        item_kind=[],
        item_start=[],
        item_length=[],
        item_tensor=[],
        item_format=[],
        item_source_wh=[],
        item_resized_wh=[],
        policy=[],
        merge=[],
        seconds_per_grid=[],
        positions=positions,
        recipe=recipe,
    )
    return Pack(header, empty_arrays(), ())


def encode(pack: Pack) -> tuple[bytes, list[memoryview]]:
    """The bytes of `<key>.json`, and those of `<key>.safetensors` as buffers in written order.

    Raises FormatError naming the pack and the field.
    """
    header = to_json(pack.header)
    _check(pack)
    tensors = [
        Tensor(name, spec.dtype, getattr(pack.arrays, name))
        for name, spec in ARRAYS.items()
        if name not in OPTIONAL or len(getattr(pack.arrays, name))
    ]
    tensors += [Tensor(f"{p.kind}.{k:05d}", p.dtype, p.data) for k, p in enumerate(pack.payloads)]
    return header, serialize(tensors)


def decode(header: Buffer | dict[str, Any], arrays: Buffer) -> Pack:
    """The pack in its two members; arrays and payloads are views of `arrays`.

    `header` may be the object that a generic reader has already made of the JSON. Raises
    FormatError naming the pack and the field.
    """
    head = from_object(header) if isinstance(header, dict) else from_json(header)
    try:
        tensors = {tensor.name: tensor for tensor in parse(arrays)}
    except FormatError as error:
        raise FormatError(f"pack {head.key}: {error}") from None
    missing = [name for name in ARRAYS if name not in tensors and name not in OPTIONAL]
    if missing:
        raise FormatError(f"pack {head.key}: {missing[0]}: missing")
    columns = Arrays(**{name: tensors.pop(name).data for name in ARRAYS if name in tensors})
    payloads = {name[-5:]: Payload(t.dtype, t.data) for name, t in tensors.items()}
    names = [f"{payloads[key].kind}.{number:05d}" for number, key in enumerate(sorted(payloads))]
    if set(names) != tensors.keys():
        odd = sorted(tensors.keys() ^ set(names))[0]
        raise FormatError(f"pack {head.key}: {odd:.100}: missing, unknown or of another kind")
    pack = Pack(head, columns, [payloads[key] for key in sorted(payloads)])
    _check(pack)
    return pack


def _check(pack: Pack) -> None:
    """What ties header, arrays and payloads together; the header itself has been checked."""
    header = pack.header
    problem = (
        array_problem(pack.arrays, header.length, header.items)
        or _loss_problem(pack)
        or _payload_problem(pack)
    )
    if problem:
        raise FormatError(f"pack {header.key}: {problem[0]}: {problem[1]}")


def _loss_problem(pack: Pack) -> tuple[str, str] | None:
    if not pack.header.samples:
        return None
    starts = np.array(pack.header.cu_seqlens[:-1])
    sums = np.add.reduceat(pack.arrays.loss, starts, dtype=np.int64).tolist()
    if sums == pack.header.loss_tokens:
        return None
    return "loss_tokens", "differs from the sums of `loss` over the samples"


def _payload_problem(pack: Pack) -> tuple[str, str] | None:
    header, payloads = pack.header, pack.payloads
    if len(payloads) > MAX_PAYLOADS or bool(payloads) != bool(header.items):
        return "item_tensor", f"{len(payloads)} tensors for {header.items} items"
    starts = [int(name[-5:]) for name in header.item_tensor]
    bounds = np.array([*starts, len(payloads)])
    counts = np.diff(bounds)
    if bounds[0] != 0 or (counts < 1).any():
        return "item_tensor", f"{starts} do not divide {len(payloads)} tensors among the items"
    for name, (start, end) in zip(header.item_tensor, pairwise(bounds), strict=True):
        if not all(_well_formed(payload, name) for payload in payloads[start:end]):
            return name, f"of numbers {start} up to {end}, one has another kind or shape"
    return _count_problem(pack, counts)


def _well_formed(payload: Payload, name: str) -> bool:
    if payload.dtype not in _PAYLOAD_DIMENSIONS or not name.startswith(payload.kind):
        return False
    dimensions = _PAYLOAD_DIMENSIONS[payload.dtype]
    return payload.data.ndim == dimensions and payload.data.dtype == DTYPES[payload.dtype]


def _count_problem(pack: Pack, counts: npt.NDArray[np.int64]) -> tuple[str, str] | None:
    """One tensor a picture or frame; pixels have a second one for each thumbnail that is drawn."""
    arrays, items = pack.arrays, pack.header.items
    frames = np.bincount(arrays.frame_item, minlength=items)
    pictures = np.maximum(frames, 1)
    drawn = (arrays.thumbnail > 0) & (arrays.thumbnail_of != THUMBNAIL_SOURCES.index("model"))
    pixels = pictures * (1 + drawn)
    # a video may be stored as one untouched file; features are as many as the encoder has views
    source = np.where(counts == 1, 1, pictures)
    expected = np.choose(arrays.payload, [source, pixels, counts])
    for item in np.flatnonzero(counts != expected):
        return "item_tensor", f"item {item} has {counts[item]} tensors, expected {expected[item]}"
    features = [name.startswith("feature") for name in pack.header.item_tensor]
    if (arrays.payload == PAYLOADS.index("features")).tolist() != features:
        return "payload", "says features where the tensor is an image, or the reverse"
    return None
