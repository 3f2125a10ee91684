"""Media and records that programs stumble over, and what the ledger says of each."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, NamedTuple

import av
import numpy as np
from PIL import ExifTags, Image

from examples.demo_records import tar_of
from tests.tiny_source import (
    Record,
    asked,
    broken_png,
    encoded,
    film,
    in_tar,
    picture,
)

GOOD = encoded(picture(1), "png")
JPEG = encoded(picture(2, (90, 60)), "jpeg")


def png(width: int, height: int, depth: int, kind: int, pixels: bytes) -> bytes:
    """A PNG of these raw rows, each with its filter byte; the header may lie."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + zlib.crc32(name + data).to_bytes(4)

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def animated(kind: str) -> bytes:
    """Two frames."""
    return encoded(picture(1), kind, save_all=True, append_images=[picture(1).rotate(180)])


def turned(code: int) -> bytes:
    """A JPEG of 60 x 90 pixels that is 90 x 60 once upright, for the codes 5 to 8."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = code
    return encoded(picture(4, (60, 90)), "jpeg", exif=exif)


def sound() -> bytes:
    """An mp4 whose only stream is audio."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def miscounted() -> bytes:
    """An AVI whose stream header counts 900 frames, where there are 12."""
    data = bytearray(film(12, "mpeg4", "avi"))
    length = data.index(b"strh") + 8 + 32
    data[length : length + 4] = struct.pack("<I", 900)
    return bytes(data)


def damaged_tar() -> bytes:
    """A tar whose second header is overwritten: `first.png` can be read, `second.png` not."""
    data = bytearray(tar_of({"first.png": GOOD, "second.png": JPEG}))
    second = 512 + -(-len(GOOD) // 512) * 512
    data[second + 20 : second + 40] = b"x" * 20
    return bytes(data)


FILES = {
    "good.png": GOOD,
    "empty.png": b"",
    "cut.jpg": JPEG[: len(JPEG) // 2],
    "page.jpg": b"<html>404 Not Found</html>\n",
    "png.jpg": GOOD,
    "cmyk.jpg": encoded(picture(1).convert("CMYK"), "jpeg"),
    "grey16.png": encoded(Image.fromarray(np.full((30, 40), 40000, np.uint16)), "png"),
    "rgb16.png": png(40, 30, 16, 2, b"".join(b"\0" + b"\x12\x34" * 120 for _ in range(30))),
    "palette.png": encoded(picture(1).convert("P"), "png"),
    "faded.png": encoded(picture(1).convert("RGBA"), "png"),
    "animated.gif": animated("gif"),
    "animated.webp": animated("webp"),
    "animated.png": animated("png"),
    "turned.jpg": turned(6),
    "bomb.png": png(60_000, 60_000, 8, 2, bytes(100)),
    "long.png": encoded(picture(1, (1, 300)), "png"),
    "sound.mp4": sound(),
    "cut.mp4": film()[:600],
    "uneven.mp4": film(times=[0, 1, 2, 7, 8, 9, 20, 21, 22, 23]),
    "miscounted.avi": miscounted(),
    "pictures.tar": tar_of(
        {"good.png": GOOD, "cut.jpg": JPEG[: len(JPEG) // 2], "broken.png": broken_png()}
    ),
    "damaged.tar": damaged_tar(),
    "cut.tar": tar_of({"first.png": GOOD, "second.png": JPEG})[:1800],
}


class Case(NamedTuple):
    """A record, the reason why it is dropped (or its notes), and what message and origin say."""

    record: Record
    drop: str = ""
    message: str = ""
    origin: str = ""
    notes: tuple[str, ...] = ()


def image(path: str, *expected: Any, **more: Any) -> Case:
    return Case(asked("", path), *expected, **more)


def video(path: str, *expected: Any, **more: Any) -> Case:
    return Case(asked("", {"type": "video", "path": path}), *expected, **more)


def member(name: str, tar: str, *expected: Any, **more: Any) -> Case:
    return Case(asked("", in_tar(name, tar)), *expected, **more)


def marked(text: str, images: list[str], drop: str, message: str) -> Case:
    user = {"role": "user", "text": text, "images": images}
    return Case({"turns": [user, {"role": "assistant", "text": "Yes."}]}, drop, message)


PART = r"^turns\[0\]\.parts\[0\]: "
LINE = r"^line \d+: "
CASES = {
    "empty": image("empty.png", "empty_file", PART + r"empty.png bytes 0\+0", "empty.png"),
    "cut": image("cut.jpg", "truncated", PART + rf"cut.jpg bytes 0\+{len(FILES['cut.jpg'])}: jpeg"),
    "page": image("page.jpg", "not_media", PART + r"page.jpg bytes 0\+27: .*<html>", "page.jpg"),
    "grey16": image("grey16.png", "unsupported_mode", PART + r"grey16.png bytes .* I;16"),
    "bomb": image("bomb.png", "too_many_pixels", PART + r"bomb.png bytes .*3600000000"),
    "long": image("long.png", "ratio_too_extreme", "^item 0: .*300"),
    "image-of-video": image("uneven.mp4", "not_media", PART + "uneven.mp4 bytes 0"),
    "video-of-image": video("good.png", "not_media", PART + "good.png bytes 0"),
    "sound": video("sound.mp4", "no_video_stream", PART + r"sound.mp4 bytes .*\(audio\)"),
    "cut-video": video("cut.mp4", "undecodable", PART + r"cut.mp4 bytes 0\+600: no video"),
    "missing": image("no.png", "missing_media", PART + "no.png: No such file", "records.jsonl#"),
    "up": image("../good.png", "path_outside_root", LINE + ".*leaves the root", "records.jsonl#"),
    "root": image("/etc/passwd", "path_outside_root", LINE + ".*must be relative"),
    "drive": image("C:\\a.png", "path_outside_root", LINE + ".*must be relative"),
    "url": image("http://x/a.png", "path_outside_root", LINE + ".*must be relative"),
    "folder": image("sub", "missing_media", PART + "sub: not a regular file"),
    "tar-cut": member(
        "cut.jpg",
        "pictures.tar",
        "truncated",
        PART + rf"pictures.tar member 'cut.jpg' bytes 1536\+{len(FILES['cut.jpg'])}",
        f"pictures.tar#1536+{len(FILES['cut.jpg'])}",
    ),
    "tar-missing": member("no.png", "pictures.tar", "missing_media", "pictures.tar: no member"),
    "tar-behind": member(
        "second.png", "damaged.tar", "damaged_archive", r"damaged.tar: damaged at byte 1024 \(.*sum"
    ),
    "tar-ends": member("second.png", "cut.tar", "damaged_archive", "damaged at byte 1024 .*ends"),
    "no-image": marked(
        "<image> and <image>", ["good.png"], "marker_without_media", LINE + ".*2 <i"
    ),
    "no-marker": marked("What?", ["good.png"], "media_without_marker", LINE + "turns.0..text: 0 <"),
    "nothing": Case({"turns": []}, "empty_sample", LINE),
    "silent": Case({"turns": [asked("", "good.png")["turns"][0]]}, "empty_sample", "no text"),
    "key": Case({"turn": []}, "bad_record", LINE + "turns: expected a list"),
    "over-long": Case({"turns": [{"role": "text", "text": "a" * 999}]}, "over_long", "100. tokens"),
    "decodes-not": member("broken.png", "pictures.tar", "undecodable", "broken data stream"),
    "good": image("good.png", origin="good.png"),
    "tar-good": member("good.png", "pictures.tar", origin=f"pictures.tar#512+{len(GOOD)}"),
    "tar-before": member("first.png", "damaged.tar", origin=f"damaged.tar#512+{len(GOOD)}"),
    "misnamed": image("png.jpg", notes=("wrong_extension",)),
    "cmyk": image("cmyk.jpg", notes=("cmyk",)),
    "rgb16": image("rgb16.png", notes=("sixteen_bit",)),
    "palette": image("palette.png", notes=("palette",)),
    "faded": image("faded.png"),
    "animated-gif": image("animated.gif", notes=("animated", "palette")),
    "animated-webp": image("animated.webp", notes=("animated",)),
    "animated-png": image("animated.png", notes=("animated",)),
    "turned": image("turned.jpg", origin="turned.jpg"),
    "uneven": video("uneven.mp4", notes=("vfr",)),
    "miscounted": video("miscounted.avi", notes=("frame_count_corrected",)),
}
NOT_JSON = '{"id": "half", "turns": ['
