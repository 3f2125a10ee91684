"""The header of a JPEG read directly: most JPEGs need no more, at a tenth of Pillow's time.

Only what means the same to every decoder is answered here (8 bits, one or three channels, no EXIF,
XMP, Adobe or multi-picture segment); `plain_jpeg` leaves all others to Pillow.
"""

from __future__ import annotations

_START_OF_SCAN = 0xDA
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_QUANTISATION, _TABLE_BYTES = 0xDB, 65
_NEUTRAL = (0xC4, 0xDD, 0xE0, 0xED, 0xFE)  # Huffman, restart interval, JFIF, Photoshop, comment
_ICC_SEGMENT, _ICC_NAME = 0xE2, b"ICC_PROFILE\0"
_MODES = {1: "L", 3: "RGB"}


def plain_jpeg(data: bytes) -> tuple[str, int, int] | None:
    """Pillow's mode, width and height; None where Pillow has to be asked."""
    found = None
    position, size = 2, len(data)
    while position + 4 <= size and data[position] == 0xFF:
        marker, begin = data[position + 1], position + 4
        end = position + 2 + (data[position + 2] << 8 | data[position + 3])
        if not begin <= end <= size:
            return None
        if marker == _START_OF_SCAN:
            return found
        position = end
        if marker in _FRAMES:
            frame = data[begin : begin + 6]
            mode = _MODES.get(frame[5]) if len(frame) == 6 and frame[0] == 8 else None
            height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
            if found or not (mode and width and height):
                return None
            found = mode, width, height
        elif marker == _ICC_SEGMENT:
            if data[begin : begin + len(_ICC_NAME)] != _ICC_NAME:
                return None
        elif marker == _QUANTISATION:
            if (end - begin) % _TABLE_BYTES or max(data[begin:end:_TABLE_BYTES], default=0) > 15:
                return None
        elif marker not in _NEUTRAL:
            return None
    return None


def scan_start(data: bytes) -> int:
    """Where the first scan begins; the header before it may hold a thumbnail with an end marker."""
    position = 2
    while data[position : position + 1] == b"\xff":
        marker = data[position + 1 : position + 2]
        if marker == b"\xff":
            position += 1
        elif marker == b"\xda":
            break
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position
