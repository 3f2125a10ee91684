"""Payloads: what is made of an item, keyed by content, in container files with an index.

A payload is the encoded pictures of an item, or the places of its patches (`workers.cameras`).
Its key is the digest of its file's sha256, of how it is resized and encoded or lifted, and of the
libraries that shape its bytes. A container holds the payloads of one source block one after
another; its index is a PAYLOADS table. A file that cannot be decoded leaves a row with a fault
instead, so that the fault is known by content and the plan can be made again without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import pyarrow as pa

from patchpack.item_geometry import Drawing, Placement
from schemas.libraries import version
from workers.cameras import XYZ, render_xyz
from workers.durable import whole_file, write_all
from workers.faults import Fault
from workers.gather import Item, items_of
from workers.known_media import check_unchanged, read_known
from workers.media_files import MediaFiles, StandIns
from workers.pixels import (
    Codec,
    ItemRow,
    Resampler,
    decode,
    encode,
    passes_through,
    render,
)
from workers.storage.folder import Folder
from workers.video import frames

VERSION = 2
"""Raised when the bytes of a payload change for the same media and geometry: with a change of
`patchpack/drawing.py`, `patchpack/view_maps.py`, `workers/pixels.py`, `workers/video.py` or
`workers/depth.py` too.
"""

PAYLOADS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),  # of the media, or of its depth map
        pa.field("part", pa.int32(), nullable=False),  # picture of its item; -1 for a fault
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("drop", pa.string()),
        pa.field("message", pa.string()),
    ]
)

ADDRESSES = pa.schema(
    [
        pa.field("sized_row", pa.int32(), nullable=False),
        pa.field("block", pa.int32(), nullable=False),
        pa.field("key", pa.string(), nullable=False),  # "" = the source file's own bytes
        pa.field("xyz_key", pa.string(), nullable=False),  # "" = no depth map
    ]
)
"""One row an item of a partition's kept samples, in their order."""

Making = Iterator[tuple[bytes, str]]
"""Parts of a payload with their formats, made one after another."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class RenderConfig:
    """`payload` is source or pixels; `codec` jpeg, webp or png; `resampler` pillow or opencv."""

    payload: str
    codec: Codec
    resampler: Resampler = "pillow"

    def spec(self) -> dict[str, object]:
        """All that shapes the bytes of a payload beside the media and its geometry."""
        names = ("pillow", "av", *(("opencv-python-headless",) * (self.resampler == "opencv")))
        return {
            "version": VERSION,
            "codec": self.codec,
            "resampler": self.resampler,
            "libraries": {name: version(name) for name in names},
        }


class Address(NamedTuple):
    """The keys of an item's payloads."""

    key: str  # of its pictures, or ""
    xyz_key: str  # of the places of its patches, or ""


def address(surveyed: pa.Table, sized: pa.Table, config: RenderConfig) -> list[list[Address]]:
    """The address of each item of each row; both tables row for row, without dropped rows."""
    salt = repr(sorted(config.spec().items())).encode()
    xyz_salt = repr((XYZ, VERSION, version("pillow"))).encode()
    return [
        [Address(payload_key(item, config, salt), xyz_key(item, xyz_salt)) for item in items]
        for items in items_of(surveyed, sized)
    ]


def payload_key(item: Item, config: RenderConfig, salt: bytes) -> str:
    """32 hex digits, or "" where the pack takes the source file as it is."""
    if config.payload == "source" and item.source.kind != "video":
        return ""
    shape = item.geometry
    drawn = (
        item.source.sha256,
        item.source.orientation,
        shape.alpha if item.source.alpha else "",
        *(getattr(shape, name) for name in Drawing.__annotations__),
        shape.frame_indices,
    )
    return hashlib.sha256(salt + repr(drawn).encode()).hexdigest()[:32]


def xyz_key(item: Item, salt: bytes) -> str:
    """32 hex digits, or "" where the item has no depth map; the same whatever becomes of pixels."""
    source, shape = item.source, item.geometry
    if not source.depth_sha256:
        return ""
    lifted = (
        (source.depth_sha256, source.depth_steps_a_metre, source.width, source.height),
        (source.intrinsics, source.pose, source.camera_convention),
        [getattr(shape, name) for name in Placement.__annotations__],
        shape.grid_thw,
    )
    return hashlib.sha256(salt + repr(lifted).encode()).hexdigest()[:32]


class MediaPlace(NamedTuple):
    """Where the media of a block lie."""

    root: Folder
    stand_ins: StandIns


@dataclass(frozen=True)
class RenderJob:
    """Which payloads of a block to make; tables row for row, without dropped rows."""

    surveyed: pa.Table
    sized: pa.Table
    place: MediaPlace
    wanted: frozenset[str]
    config: RenderConfig


def render_block(job: RenderJob, container: Path) -> pa.Table:
    """Write the container file, whole or not at all, and give its index (PAYLOADS)."""
    rows: list[tuple[object, ...]] = []
    end = 0
    with MediaFiles(*job.place) as media, whole_file(container) as descriptor:
        for key, (sha256, making) in _wanted(job, media).items():
            try:
                parts = list(making)
            except Fault as fault:
                rows.append((key, sha256, -1, end, 0, "", fault.reason.value, fault.message))
                continue
            write_all(descriptor, [memoryview(data) for data, _ in parts])
            for part, (data, kind) in enumerate(parts):
                rows.append((key, sha256, part, end, len(data), kind, None, None))
                end += len(data)
    return _index(rows)


def _wanted(job: RenderJob, media: MediaFiles) -> dict[str, tuple[str, Making]]:
    """Of each payload of the job, by key, its file's sha256 and its parts, which are made when they
    are taken.
    """
    found: dict[str, tuple[str, Making]] = {}
    keys = address(job.surveyed, job.sized, job.config)
    for addresses, items in zip(keys, items_of(job.surveyed, job.sized), strict=True):
        for (key, places), item in zip(addresses, items, strict=True):
            if key in job.wanted and key not in found:
                found[key] = item.source.sha256, _pictures(item, media, job.config)
            if places in job.wanted and places not in found:
                found[places] = item.source.depth_sha256, _places(item, media)
    return found


def _pictures(item: Item, media: MediaFiles, config: RenderConfig) -> Making:
    """The encoded pictures of an item with their formats. Raises Fault, or BuildError for changed
    bytes.
    """
    source, shape = item.source, item.geometry
    drawn_as = cast(Drawing, shape._asdict())
    if source.kind == "video":
        check_unchanged(source.path, _chunks(media, item), source.sha256)
        file = media.open_range(source.path, source.offset, source.size)
        with closing(file):
            for frame in frames(file, shape.frame_indices, source.orientation):
                for picture in render(frame, drawn_as, config.resampler):
                    yield encode(picture, config.codec), config.codec
        return
    data = read_known(media, source.path, source.offset, source.size)
    check_unchanged(source.path, [data], source.sha256)
    image = decode(data, source.orientation, shape.alpha)
    if passes_through(cast(ItemRow, source._asdict()), drawn_as):
        yield data, source.format
        return
    for picture in render(image, drawn_as, config.resampler):
        yield encode(picture, config.codec), config.codec


def _places(item: Item, media: MediaFiles) -> Making:
    """The places of an item's patches. Raises as `_pictures`."""
    source = item.source
    data = read_known(media, source.depth_path, source.depth_offset, source.depth_size)
    check_unchanged(source.depth_path, [data], source.depth_sha256)
    yield render_xyz(item, data), XYZ


def _chunks(media: MediaFiles, item: Item) -> Iterator[bytes]:
    end = item.source.offset + item.source.size
    for start in range(item.source.offset, end, _CHUNK):
        yield read_known(media, item.source.path, start, min(_CHUNK, end - start))


def _index(rows: list[tuple[object, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(PAYLOADS)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, PAYLOADS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=PAYLOADS)
