"""Payloads: the encoded pictures of an item, keyed by content, in container files with an index.

A payload's key is the digest of the media's sha256, of how it is resized and encoded, and of the
libraries that shape its bytes. A container holds the payloads of one source block one after
another; its index is a PAYLOADS table. A medium that cannot be decoded leaves a row with a fault
instead, so that the fault is known by content and the plan can be made again without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast

import pyarrow as pa

from workers.durable import whole_file, write_all
from workers.faults import Fault
from workers.gather import Item, items_of
from workers.known_media import check_unchanged, read_known
from workers.media_files import MediaFiles
from workers.pixels import Alpha, Codec, ItemRow, SizedRow, decode, encode, passes_through, render
from workers.video import frames

VERSION = 1
"""Raised when the bytes of a payload change for the same media and geometry: with a change of
`workers/pixels.py` or `workers/video.py` too.
"""

PAYLOADS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),  # of the media
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
    ]
)
"""One row an item of a partition's kept samples, in their order."""


_CHUNK = 1 << 20


@dataclass(frozen=True)
class RenderConfig:
    """`payload` is source or pixels; `codec` jpeg, webp or png; `alpha` drop or white, as the
    policy has it.
    """

    payload: str
    codec: Codec
    alpha: Alpha

    def spec(self) -> dict[str, object]:
        """All that shapes the bytes of a payload beside the media and its geometry."""
        libraries = {name: version(name) for name in ("pillow", "av")}
        return {
            "version": VERSION,
            "codec": self.codec,
            "alpha": self.alpha,
            "libraries": libraries,
        }


def address(surveyed: pa.Table, sized: pa.Table, config: RenderConfig) -> list[list[str]]:
    """The payload key of each item of each row; both tables row for row, without dropped rows."""
    salt = repr(sorted(config.spec().items())).encode()
    return [
        [payload_key(item, config, salt) for item in items] for items in items_of(surveyed, sized)
    ]


def payload_key(item: Item, config: RenderConfig, salt: bytes) -> str:
    """32 hex digits, or "" where the pack takes the source file as it is."""
    if config.payload == "source" and item.source.kind != "video":
        return ""
    shape = item.geometry
    drawn = (
        item.source.sha256,
        item.source.orientation,
        shape.resized_wh,
        shape.canvas_wh,
        shape.paste_xy,
        shape.pad_rgb,
        shape.thumbnail_wh,
        shape.frame_indices,
    )
    return hashlib.sha256(salt + repr(drawn).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class RenderJob:
    """Which payloads of a block to make; tables row for row, without dropped rows."""

    surveyed: pa.Table
    sized: pa.Table
    root: Path
    wanted: frozenset[str]
    config: RenderConfig


def render_block(job: RenderJob, container: Path) -> pa.Table:
    """Write the container file, whole or not at all, and give its index (PAYLOADS)."""
    rows: list[tuple[object, ...]] = []
    end = 0
    keys = address(job.surveyed, job.sized, job.config)
    made: set[str] = set()
    with MediaFiles(job.root) as media, whole_file(container) as descriptor:
        for names, items in zip(keys, items_of(job.surveyed, job.sized), strict=True):
            for key, item in zip(names, items, strict=True):
                if key not in job.wanted or key in made:
                    continue
                made.add(key)
                try:
                    pictures = list(_pictures(item, media, job.config))
                except Fault as fault:
                    rows.append(
                        (key, item.source.sha256, -1, end, 0, "", fault.reason.value, fault.message)
                    )
                    continue
                write_all(descriptor, [memoryview(data) for data, _ in pictures])
                for part, (data, kind) in enumerate(pictures):
                    rows.append((key, item.source.sha256, part, end, len(data), kind, None, None))
                    end += len(data)
    return _index(rows)


def _pictures(item: Item, media: MediaFiles, config: RenderConfig) -> Iterator[tuple[bytes, str]]:
    """The encoded pictures of an item with their formats. Raises Fault, or BuildError for changed
    bytes.
    """
    source, shape = item.source, item.geometry
    drawn_as = cast(SizedRow, shape._asdict())
    if source.kind == "video":
        check_unchanged(source.path, _chunks(media, item), source.sha256)
        file = media.open_range(source.path, source.offset, source.size)
        with closing(file):
            for frame in frames(file, shape.frame_indices, source.orientation):
                for picture in render(frame, drawn_as):
                    yield encode(picture, config.codec), config.codec
        return
    data = read_known(media, source.path, source.offset, source.size)
    check_unchanged(source.path, [data], source.sha256)
    image = decode(data, source.orientation, config.alpha)
    if passes_through(cast(ItemRow, source._asdict()), drawn_as):
        yield data, source.format
        return
    for picture in render(image, drawn_as):
        yield encode(picture, config.codec), config.codec


def _chunks(media: MediaFiles, item: Item) -> Iterator[bytes]:
    end = item.source.offset + item.source.size
    for start in range(item.source.offset, end, _CHUNK):
        yield read_known(media, item.source.path, start, min(_CHUNK, end - start))


def _index(rows: list[tuple[object, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(PAYLOADS)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, PAYLOADS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=PAYLOADS)
