"""What a picture's header says, without decoding a pixel; and the one door to Pillow.

- The format comes from the first bytes, and only that plugin runs: no Ghostscript, no 40 parsers.
- Whether the data is all there is judged by its structure (`workers.completeness`).
- The EXIF orientation is read once, here: width and height are those of the upright picture, and
  `workers.pixels` turns it by the recorded code.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import ExifTags, Image, UnidentifiedImageError

from patchpack.drawing import MAX_PIXELS, PILLOW_ERRORS, has_alpha
from schemas.reasons import Reason
from workers.completeness import exif_chunk, missing_end, missing_pixels
from workers.faults import Fault
from workers.jpeg import plain_jpeg

MAX_IMAGE_BYTES = 256 << 20

EXTENSIONS = {
    "jpeg": ("jpg", "jpeg", "jpe", "jfif", "mpo"),
    "png": ("png", "apng"),
    "gif": ("gif",),
    "webp": ("webp",),
    "bmp": ("bmp", "dib"),
    "tiff": ("tif", "tiff"),
    "ico": ("ico",),
}
_FORMAT_OF = {name: kind for kind, names in EXTENSIONS.items() for name in names}
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
_METADATA = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A picture or video that can be decoded; width and height are after the orientation."""

    format: str  # of the picture, or the video's container
    mode: str  # Pillow's, or the pixel format of the video
    alpha: bool = False
    width: int
    height: int
    orientation: int  # EXIF code 1..8 as found; for a video the code of its rotation
    frames: int = 1
    fps: float = 0.0  # mean frames a second; 0.0 for a picture, and where a video does not tell
    duration: float = 0.0  # seconds: frames / fps
    notes: tuple[str, ...] = ()


def read_header(data: bytes, name: str) -> Header:
    """The header of one picture; `name` is its file's or member's, for the note on its extension.

    Raises Fault: empty_file, not_media, truncated, too_many_pixels, unsupported_mode, undecodable.
    """
    kind = picture_format(data)
    if what := missing_end(kind, data):
        raise Fault(Reason.TRUNCATED, what)
    if kind == "jpeg" and (plain := plain_jpeg(data)):
        mode, width, height = plain
        _check_size(width, height)
        notes = _extension_note(kind, name)
        return Header(
            format=kind, mode=mode, width=width, height=height, orientation=1, notes=notes
        )
    image = open_picture(data, kind)
    if what := missing_pixels(image, len(data)):
        raise Fault(Reason.TRUNCATED, what)
    if image.mode not in _MODES:
        what = f"{kind} of mode {image.mode}: more than 8 bits a channel would be clipped"
        raise Fault(Reason.UNSUPPORTED_MODE, what)
    orientation, exif_notes = _orientation(image, kind, data)
    width, height = image.size
    if orientation >= 5 and kind != "tiff":  # Pillow turns TIFF by itself
        width, height = height, width
    return Header(
        format=kind,
        mode=image.mode,
        alpha=has_alpha(image),
        width=width,
        height=height,
        orientation=orientation,
        notes=(*_extension_note(kind, name), *exif_notes, *_notes(image, kind, data)),
    )


def picture_format(data: bytes) -> str:
    """The format by the first bytes. Raises Fault: empty_file, not_media."""
    if not data:
        raise Fault(Reason.EMPTY_FILE, "no bytes")
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if data[:2] == b"BM":
        return "bmp"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if data[:4] == b"\0\0\1\0":
        return "ico"
    raise Fault(Reason.NOT_MEDIA, f"no picture format that we read begins with {data[:12]!r}")


def open_picture(data: bytes, kind: str) -> Image.Image:
    """The picture, not yet decoded. Raises Fault: too_many_pixels, undecodable."""
    with pillow_faults(kind):
        image = Image.open(io.BytesIO(data), formats=(kind,))
    _check_size(*image.size)
    return image


def _check_size(width: int, height: int) -> None:
    if not width * height:
        raise Fault(Reason.UNDECODABLE, f"a picture of {width}×{height}")
    if width * height > MAX_PIXELS:
        raise Fault(Reason.TOO_MANY_PIXELS, f"{width}×{height}, over the limit of {MAX_PIXELS}")


@contextmanager
def pillow_faults(kind: str) -> Iterator[None]:
    """Around calls of Pillow on untrusted bytes: errors become a Fault, warnings are not shown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Image.DecompressionBombError as error:
        raise Fault(Reason.TOO_MANY_PIXELS, str(error)) from error
    except UnidentifiedImageError as error:  # its own message holds a memory address
        raise Fault(Reason.UNDECODABLE, f"{kind}: the header cannot be read") from error
    except PILLOW_ERRORS as error:
        reason = Reason.TRUNCATED if "truncated" in str(error).lower() else Reason.UNDECODABLE
        what = str(error) if type(error) is OSError else f"{type(error).__name__}: {error}"
        raise Fault(reason, f"{kind}: {what[:200]}") from error


def _orientation(image: Image.Image, kind: str, data: bytes) -> tuple[int, list[str]]:
    """The EXIF code, 1 where there is none. `getexif` is asked only where the header shows some:
    on a PNG it would read the whole file."""
    if kind == "png" and "exif" not in image.info and (exif := exif_chunk(data)):
        image.info["exif"] = exif
    if kind != "tiff" and not any(key in image.info for key in _METADATA):
        return 1, []
    try:
        with pillow_faults(kind):
            found = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except Fault:
        return 1, ["bad_exif"]
    return (found if isinstance(found, int) and 2 <= found <= 8 else 1), []


def _extension_note(kind: str, name: str) -> tuple[str, ...]:
    extension = name.rpartition(".")[2].lower()
    return () if _FORMAT_OF.get(extension, kind) == kind else ("wrong_extension",)


def _notes(image: Image.Image, kind: str, data: bytes) -> list[str]:
    notes = []
    if image.format == "MPO":
        notes.append("multi_picture")  # a photo with its preview or stereo twin: the first is used
    elif kind in ("gif", "png", "webp") and _is_animated(image, kind):
        notes.append("animated")  # the first frame is used
    if image.mode == "CMYK":
        notes.append("cmyk")
    if image.mode in ("P", "PA"):
        notes.append("palette")
    if kind == "png" and data[24] == 16:
        notes.append("sixteen_bit")  # the upper 8 bits of each channel are used
    return notes


def _is_animated(image: Image.Image, kind: str) -> bool:
    try:
        with pillow_faults(kind):
            return bool(getattr(image, "is_animated", False))
    except Fault:
        return False  # what follows the first frame is damaged, and not used
