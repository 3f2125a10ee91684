"""Whether a picture's bytes are all there, by the structure of its format: no pixel is decoded.

JPEG: an end marker after the start of the scan (whatever trails it is no loss). PNG: chunks that
lead to IEND. GIF: the first frame to its terminator. WebP: the length in the RIFF header. BMP,
TIFF, ICO: the byte ranges that the header names.
"""

from __future__ import annotations

from typing import Any

from PIL import IcoImagePlugin, Image, TiffImagePlugin

from workers.jpeg import scan_start

_STRIPS, _STRIP_SIZES = 273, 279
_TILES, _TILE_SIZES = 324, 325


def missing_end(kind: str, data: bytes) -> str | None:
    """What is missing at the end of a jpeg, png, gif or webp; None where it is complete."""
    if kind == "jpeg":
        complete = data.endswith(b"\xff\xd9") or data.rfind(b"\xff\xd9", scan_start(data)) >= 0
        return None if complete else "jpeg without an end marker"
    if kind == "png":
        return None if _png_chunks(data)[-1][0] == b"IEND" else "png without its IEND chunk"
    if kind == "gif":
        return None if _first_gif_frame_ends(data) else "gif whose first frame is cut off"
    if kind == "webp":
        size = int.from_bytes(data[4:8], "little") + 8
        return None if size <= len(data) else f"webp of {size} bytes, {len(data)} are there"
    return None


def missing_pixels(image: Image.Image, size: int) -> str | None:
    """What is missing of the byte ranges that an opened bmp, tiff or ico of this size names."""
    end = max(_range_ends(image), default=0)
    return None if end <= size else f"pixels up to byte {end}, {size} are there"


def exif_chunk(data: bytes) -> bytes | None:
    """The eXIf chunk of a PNG, also behind the pixels, where opening does not see it."""
    for name, begin, end in _png_chunks(data):
        if name == b"eXIf":
            return data[begin:end]
    return None


def _png_chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """Name, begin and end of the chunks that are all there, up to IEND."""
    chunks, position = [(b"", 0, 0)], 8
    while chunks[-1][0] != b"IEND":
        begin = position + 8
        end = begin + int.from_bytes(data[position : position + 4], "big")
        if end + 4 > len(data):
            break
        chunks.append((data[position + 4 : begin], begin, end))
        position = end + 4
    return chunks


def _first_gif_frame_ends(data: bytes) -> bool:
    position = 13 + _colour_table(data[10:11])
    while (block := data[position : position + 1]) in (b"!", b","):
        if block == b",":
            position += 11 + _colour_table(data[position + 9 : position + 10])
        else:
            position += 2
        while position < len(data) and data[position]:
            position += 1 + data[position]
        position += 1
        if block == b",":
            return position <= len(data)
    return False


def _colour_table(flags: bytes) -> int:
    """Bytes of the table that follows these flags."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _range_ends(image: Image.Image) -> list[int]:
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        strips = zip(_integers(tags.get(_STRIPS)), _integers(tags.get(_STRIP_SIZES)), strict=False)
        tiles = zip(_integers(tags.get(_TILES)), _integers(tags.get(_TILE_SIZES)), strict=False)
        return [begin + size for begin, size in (*strips, *tiles)]
    if isinstance(image, IcoImagePlugin.IcoImageFile):
        return [entry.offset + entry.size for entry in image.ico.entry]
    ends = []
    for tile in getattr(image, "tile", ()):
        if tile.codec_name == "raw" and isinstance(tile.args, tuple) and len(tile.args) == 3:
            height = tile.extents[3] - tile.extents[1] if tile.extents else image.height
            ends.append(tile.offset + tile.args[1] * height)
    return ends


def _integers(value: Any) -> tuple[int, ...]:
    values = value if isinstance(value, tuple) else (value,)
    return tuple(v for v in values if isinstance(v, int))
