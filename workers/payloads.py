"""Payloads: what is made of an item, keyed by content, in container files with an index.

A payload is the encoded pictures of an item, or the places of its patches (`workers.cameras`).
Its key is the digest of its file's sha256, of how it is resized and encoded or lifted, and of the
libraries that shape its bytes. A container holds the payloads of one source block one after
another; its index is a PAYLOADS table. A file that cannot be decoded leaves a row with a fault
instead, so that the fault is known by content and the plan can be made again without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from patchpack.item_geometry import Drawing, Placement
from schemas.digest import spec_digest
from schemas.libraries import version
from workers.cameras import XYZ, render_xyz
from workers.durable import whole_file, write_all
from workers.faults import Fault
from workers.gather import Item, items_of
from workers.item_pictures import shown, untouched
from workers.known_media import check_unchanged, read_known
from workers.media_files import MediaFiles, StandIns
from workers.pixels import Codec, Resampler, encode
from workers.storage.folder import Folder

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
        # of features, which a GPU answers and nobody can compute again from their key alone
        pa.field("digest", pa.string()),
        pa.field("device", pa.string()),
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

Row = tuple[object, ...]
"""One of PAYLOADS."""

Making = Iterator[tuple[bytes, str]]
"""Parts of a payload with their formats, made one after another."""


@dataclass(frozen=True)
class RenderConfig:
    """`payload` is source, pixels or features; `codec` jpeg, webp or png; `resampler` pillow or
    opencv; `encoder` is the spec of what makes features.
    """

    payload: str
    codec: Codec
    resampler: Resampler = "pillow"
    encoder: Mapping[str, object] | None = None

    def spec(self) -> dict[str, object]:
        """All that shapes the bytes of a payload beside the media and its geometry."""
        names = ("pillow", "av", *(("opencv-python-headless",) * (self.resampler == "opencv")))
        encoder = spec_digest(self.encoder) if self.encoder else ""
        made = {"encoder": encoder} if encoder else {"codec": self.codec}
        return {
            "version": VERSION,
            **made,
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
    if config.payload == "features":
        drawn += (shape.crops_ltrb, shape.grid_thw, shape.kept_patches)
        drawn += (shape.pieces,) if shape.pieces else ()
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
    rows: list[Row] = []
    end = 0
    with MediaFiles(*job.place) as media, whole_file(container) as descriptor:
        for one in wanted_of(job):
            pictures = _pictures(one.item, media, job.config)
            try:
                parts = list(places_of(one.item, media) if one.is_xyz else pictures)
            except Fault as fault:
                rows.append(fault_row(one, end, fault))
                continue
            write_all(descriptor, [memoryview(data) for data, _ in parts])
            for part, (data, kind) in enumerate(parts):
                rows.append(
                    (one.key, one.sha256, part, end, len(data), kind, None, None, None, None)
                )
                end += len(data)
    return index_of_rows(rows)


class Wanted(NamedTuple):
    """A payload to make."""

    key: str
    item: Item
    is_xyz: bool

    @property
    def sha256(self) -> str:
        """Of the file that it is made of."""
        source = self.item.source
        return source.depth_sha256 if self.is_xyz else source.sha256


def wanted_of(job: RenderJob) -> list[Wanted]:
    """The payloads of the job, each once, in source order."""
    found: dict[str, Wanted] = {}
    keys = address(job.surveyed, job.sized, job.config)
    for addresses, items in zip(keys, items_of(job.surveyed, job.sized), strict=True):
        for (key, places), item in zip(addresses, items, strict=True):
            if key in job.wanted:
                found.setdefault(key, Wanted(key, item, is_xyz=False))
            if places in job.wanted:
                found.setdefault(places, Wanted(places, item, is_xyz=True))
    return list(found.values())


def _pictures(item: Item, media: MediaFiles, config: RenderConfig) -> Making:
    """The encoded pictures of an item with their formats. Raises as `shown`."""
    if kept := untouched(item, media):
        yield kept, item.source.format
        return
    for pictures in shown(item, media, config.resampler):
        for picture in pictures:
            yield encode(picture, config.codec), config.codec


def places_of(item: Item, media: MediaFiles) -> Making:
    """The places of an item's patches, with their format. Raises as `item_pictures.shown`."""
    source = item.source
    data = read_known(media, source.depth_path, source.depth_offset, source.depth_size)
    check_unchanged(source.depth_path, [data], source.depth_sha256)
    yield render_xyz(item, data), XYZ


def fault_row(one: Wanted, offset: int, fault: Fault) -> Row:
    """The row of a payload that cannot be made."""
    return (one.key, one.sha256, -1, offset, 0, "", fault.reason.value, fault.message, None, None)


def index_of_rows(rows: list[Row]) -> pa.Table:
    """PAYLOADS."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(PAYLOADS)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, PAYLOADS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=PAYLOADS)
