"""The pictures of an item from its source file: of a still one, of a video one a picked frame; each
drawn by the item's geometry.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import cast

from PIL import Image

from patchpack.item_geometry import Drawing
from workers.gather import Item
from workers.known_media import check_unchanged, read_known
from workers.media_files import MediaFiles
from workers.pixels import ItemRow, Resampler, decode, passes_through, render
from workers.video import frames

_CHUNK = 1 << 20


def shown(item: Item, media: MediaFiles, resampler: Resampler) -> Iterator[list[Image.Image]]:
    """Of each picture or frame the finished view, then its thumbnail if one is drawn.

    Raises Fault, or BuildError for changed bytes.
    """
    source, drawn_as = item.source, drawing_of(item)
    if source.kind == "video":
        check_unchanged(source.path, _chunks(item, media), source.sha256)
        file = media.open_range(source.path, source.offset, source.size)
        with closing(file):
            for frame in frames(file, item.geometry.frame_indices, source.orientation):
                yield render(frame, drawn_as, resampler)
        return
    image = decode(_whole(item, media), source.orientation, item.geometry.alpha)
    yield render(image, drawn_as, resampler)


def untouched(item: Item, media: MediaFiles) -> bytes | None:
    """The file's own bytes where they already are the one picture to store, and decode.

    Raises as `shown`.
    """
    source = item.source
    if source.kind == "video" or not passes_through(
        cast(ItemRow, source._asdict()), drawing_of(item)
    ):
        return None
    data = _whole(item, media)
    decode(data, source.orientation, item.geometry.alpha)
    return data


def drawing_of(item: Item) -> Drawing:
    """The part of an item's geometry that shapes pixels."""
    return cast(Drawing, item.geometry._asdict())


def _whole(item: Item, media: MediaFiles) -> bytes:
    source = item.source
    data = read_known(media, source.path, source.offset, source.size)
    check_unchanged(source.path, [data], source.sha256)
    return data


def _chunks(item: Item, media: MediaFiles) -> Iterator[bytes]:
    end = item.source.offset + item.source.size
    for start in range(item.source.offset, end, _CHUNK):
        yield read_known(media, item.source.path, start, min(_CHUNK, end - start))
