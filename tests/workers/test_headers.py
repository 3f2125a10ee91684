from __future__ import annotations

import hashlib
import io
import json
import random
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchpack.drawing import MAX_PIXELS
from schemas.reasons import Reason
from tests.tiny_source import encoded, picture
from workers.faults import Fault
from workers.headers import Header, read_header
from workers.jpeg import plain_jpeg
from workers.pixels import decode

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
WH = (40, 24)


def exif(code: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = code
    return tags.tobytes()


def reason(data: bytes, name: str = "a.jpg") -> Reason:
    with pytest.raises(Fault) as caught:
        read_header(data, name)
    assert " at 0x" not in caught.value.message
    return caught.value.reason


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 10)
    body = chunk(b"IHDR", size) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("jpeg", "RGB", {"quality": 90}),
        ("jpeg", "RGB", {"progressive": True}),
        ("jpeg", "L", {}),
        ("png", "RGB", {}),
        ("png", "RGBA", {}),
        ("png", "LA", {}),
        ("png", "1", {}),
        ("webp", "RGB", {}),
        ("webp", "RGBA", {"lossless": True}),
        ("bmp", "RGB", {}),
        ("tiff", "RGB", {"compression": "tiff_lzw"}),
        ("ico", "RGBA", {"sizes": [WH]}),
    ],
)
def test_the_header_tells_format_mode_and_size(
    kind: str, mode: str, options: dict[str, Any]
) -> None:
    image = picture(1, WH).convert(mode)
    if "A" in mode:
        image.putalpha(100)
    data = encoded(image, kind, **options)
    expected = Header(format=kind, mode=mode, alpha="A" in mode, width=40, height=24, orientation=1)
    assert read_header(data, f"a.{kind}") == expected


def test_the_bytes_tell_the_format_and_a_wrong_extension_is_noted() -> None:
    data = encoded(picture(1), "png")
    assert read_header(data, "folder.d/a.JPG").notes == ("wrong_extension",)
    assert read_header(data, "a.PNG").notes == ()
    assert read_header(data, "no_extension").notes == ()
    assert read_header(encoded(picture(1), "jpeg"), "a.png").notes == ("wrong_extension",)


@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
def test_the_size_is_that_of_the_upright_picture(kind: str, code: int) -> None:
    header = read_header(encoded(picture(1, WH), kind, exif=exif(code)), f"a.{kind}")
    assert header.orientation == code
    assert (header.width, header.height) == (WH if code < 5 else WH[::-1])


def test_an_orientation_in_xmp_or_behind_the_pixels_of_a_png_is_found() -> None:
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    assert read_header(encoded(picture(1), "jpeg", xmp=xmp), "a.jpg").orientation == 6
    data = encoded(picture(1, WH), "png")
    end = data.index(b"IEND") - 4
    late = data[:end] + chunk(b"eXIf", exif(8).removeprefix(b"Exif\0\0")) + data[end:]
    header = read_header(late, "a.png")
    assert (header.orientation, header.width, header.height) == (8, 24, 40)


@pytest.mark.parametrize(
    "tags", [b"Exif\0\0rubbish, no TIFF header", b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
def test_odd_exif_is_no_orientation(tags: bytes) -> None:
    header = read_header(encoded(picture(1), "jpeg", exif=tags), "a.jpg")
    assert header.orientation == 1
    assert set(header.notes) <= {"bad_exif"}


def test_an_orientation_that_is_none_leaves_the_picture() -> None:
    for code in (0, 9, 60000):
        assert read_header(encoded(picture(1), "jpeg", exif=exif(code)), "a.jpg").orientation == 1


def test_transparency_of_a_palette_or_a_colour_key_is_alpha() -> None:
    palette = picture(1).quantize(16)
    header = read_header(encoded(palette, "png", transparency=3), "a.png")
    assert (header.mode, header.alpha, header.notes) == ("P", True, ("palette",))
    assert not read_header(encoded(palette, "png"), "a.png").alpha
    assert read_header(encoded(palette, "gif", transparency=3), "a.gif").alpha
    keyed = read_header(encoded(picture(1), "png", transparency=(1, 2, 3)), "a.png")
    assert (keyed.mode, keyed.alpha) == ("RGB", True)


def test_the_size_of_an_icon_is_that_of_its_picture() -> None:
    icon = bytearray(encoded(picture(1, (32, 32)), "ico", sizes=[(32, 32)]))
    icon[6] = 16  # the directory's width
    header = read_header(bytes(icon), "a.ico")
    assert (header.width, header.height) == decode(bytes(icon), 1, "drop").size == (32, 32)


def test_what_is_worth_knowing_is_noted() -> None:
    assert read_header(encoded(picture(1).convert("CMYK"), "jpeg"), "a.jpg").notes == ("cmyk",)
    several = {"save_all": True, "append_images": [picture(2, WH), picture(3, WH)]}
    for kind in ("gif", "webp", "png"):
        header = read_header(encoded(picture(1, WH), kind, **several), f"a.{kind}")
        assert "animated" in header.notes
        assert (header.width, header.height, header.frames) == (40, 24, 1)
    assert read_header(encoded(picture(1), "mpo", **several), "a.jpg").notes == ("multi_picture",)
    deep = bytearray(png_header(4, 4))
    deep[24] = 16
    deep[29:33] = struct.pack(">I", zlib.crc32(deep[12:29]))
    assert read_header(bytes(deep), "a.png").notes == ("sixteen_bit",)


def test_bytes_that_are_no_picture_have_a_reason() -> None:
    assert reason(b"") is Reason.EMPTY_FILE
    assert reason(b"<html>not found</html>") is Reason.NOT_MEDIA
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n") is Reason.NOT_MEDIA  # never reaches Ghostscript
    assert reason(b"BM then text") is Reason.UNDECODABLE
    assert reason(b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b"")) is Reason.UNDECODABLE


def test_sixteen_bit_greys_are_not_clipped_in_silence() -> None:
    grey = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
    assert reason(encoded(grey, "png")) is Reason.UNSUPPORTED_MODE
    floats = Image.fromarray(np.full((8, 8), 0.5, np.float32))
    assert reason(encoded(floats, "tiff")) is Reason.UNSUPPORTED_MODE


def test_bombs_are_refused_by_their_size_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reason(png_header(20_000, 20_000)) is Reason.TOO_MANY_PIXELS
        assert reason(png_header(2**31 - 1, 2**31 - 1)) is Reason.TOO_MANY_PIXELS
        large = read_header(png_header(10_000, 10_000), "a.png")  # Pillow alone would warn
    assert large.width * large.height <= MAX_PIXELS
    jpeg = bytearray(encoded(picture(1), "jpeg"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    assert reason(bytes(jpeg)) is Reason.TOO_MANY_PIXELS
    jpeg[frame + 5 : frame + 9] = b"\0\0\0\x10"
    assert reason(bytes(jpeg)) is Reason.UNDECODABLE


WHOLE = {
    "jpeg": encoded(picture(1, (90, 70)), "jpeg"),
    "jpeg with a thumbnail": encoded(picture(1, (90, 70)), "jpeg", exif=exif(6)),
    "png": encoded(picture(1, (90, 70)), "png"),
    "gif": encoded(picture(1, (90, 70)), "gif"),
    "webp": encoded(picture(1, (90, 70)), "webp"),
    "bmp": encoded(picture(1, (90, 70)), "bmp"),
    "tiff": encoded(picture(1, (90, 70)), "tiff"),
    "tiff by strips": encoded(picture(1, (90, 70)), "tiff", compression="tiff_lzw"),
    "ico": encoded(picture(1, (90, 70)), "ico"),
}
REFUSED = {Reason.TRUNCATED, Reason.UNDECODABLE, Reason.NOT_MEDIA, Reason.EMPTY_FILE}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_cut_anywhere_is_refused(kind: str) -> None:
    data = WHOLE[kind]
    assert read_header(data, "a")
    reasons = [reason(data[:end], "a") for end in range(0, len(data), 37)]
    assert set(reasons) <= REFUSED
    directory_at_the_end = kind == "tiff by strips"
    assert reasons[-1] is (Reason.UNDECODABLE if directory_at_the_end else Reason.TRUNCATED)


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp"])
def test_bytes_after_the_end_are_no_loss(kind: str) -> None:
    assert read_header(WHOLE[kind] + b"\0" * 3000 + b"trailer", "a")


def test_the_end_mark_of_a_thumbnail_does_not_end_the_picture() -> None:
    data = WHOLE["jpeg"]
    thumbnail = encoded(picture(2, (16, 16)), "jpeg")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    with_it = data[:2] + segment + data[2:]
    assert read_header(with_it, "a").width == 90
    assert reason(with_it[: len(with_it) // 2]) is Reason.TRUNCATED


def test_plain_jpegs_read_directly_are_what_pillow_reads() -> None:
    chance = random.Random(0)
    whole = [WHOLE["jpeg"], encoded(picture(2), "jpeg", progressive=True, icc_profile=b"x" * 300)]
    answered = 0
    for _ in range(1500):
        data = bytearray(chance.choice(whole))
        for _ in range(chance.randint(0, 2)):
            data[chance.randrange(2, 700)] = chance.randrange(256)
        found = plain_jpeg(bytes(data))
        if found is not None:
            image = Image.open(io.BytesIO(data), formats=("jpeg",))
            assert found == (image.mode, *image.size)
            answered += 1
    assert answered > 500


def test_changed_bytes_give_a_picture_or_a_reason_never_an_error() -> None:
    chance = random.Random(0)
    whole = [*WHOLE.values(), encoded(picture(1).quantize(16), "png", transparency=3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(1500):
            data = bytearray(chance.choice(whole[:5]))
            for _ in range(chance.randint(1, 4)):
                data[chance.randrange(min(len(data), 400))] = chance.choice((0, 1, 127, 255))
            try:
                header = read_header(bytes(data), "a")
                image = decode(bytes(data), header.orientation, "white")
            except Fault:
                continue
            assert image.size == (header.width, header.height)


@pytest.mark.skipif(not CORPUS.exists(), reason="no corpus beside the checkout")
def test_every_picture_of_the_corpus_is_read_as_its_manifest_says() -> None:
    lines = (CORPUS / "manifest.jsonl").read_text().splitlines()
    files = [file for line in lines for file in json.loads(line)["files"] if "mode" in file]
    assert len(files) > 300
    for file in files:
        data = (CORPUS / file["path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file["sha256"]
        header = read_header(data, file["path"])
        code = file["exif_orientation"] or 1
        wh = (file["width"], file["height"])
        assert (header.format, header.mode) == (file["format"].lower(), file["mode"])
        assert header.orientation == code
        assert (header.width, header.height) == (wh if code < 5 else wh[::-1])
        assert ("animated" in header.notes) == (file["n_frames"] > 1)
