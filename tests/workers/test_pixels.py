from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps, JpegImagePlugin

from patchpack.drawing import upright
from patchpack.item_geometry import Drawing
from schemas.reasons import Reason
from tests.tiny_source import broken_png, encoded, picture
from workers.faults import Fault
from workers.pixels import (
    Alpha,
    Codec,
    ItemRow,
    decode,
    encode,
    passes_through,
    render,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "pixels"
MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])

Floats = npt.NDArray[np.float32]


def sized(
    wh: tuple[int, int],
    canvas: tuple[int, int] | None = None,
    xy: tuple[int, int] = (0, 0),
    thumbnail: int = 0,
) -> Drawing:
    return {
        "via_wh": [],
        "transposed": False,
        "resized_wh": list(wh),
        "canvas_wh": list(canvas or wh),
        "paste_xy": list(xy),
        "pad_rgb": [1, 2, 3],
        "view_wh": list(canvas or wh),
        "resample": "bicubic",
        "thumbnail": "last" if thumbnail else "none",
        "thumbnail_of": "source",
        "thumbnail_wh": [thumbnail, thumbnail],
        "thumbnail_resized_wh": [thumbnail, thumbnail],
        "thumbnail_xy": [0, 0],
    }


def qwen_patches(image: Image.Image) -> Floats:
    """`pixel_values` of one image: patches of 14, in 2 x 2 blocks, each frame twice."""
    pixels = (np.asarray(image) / 255.0 - MEAN) / STD
    rows, columns = pixels.shape[0] // 28, pixels.shape[1] // 28
    grid = pixels.reshape(rows, 2, 14, columns, 2, 14, 3).transpose(0, 3, 1, 4, 6, 2, 5)
    twice = np.repeat(grid[:, :, :, :, :, None], 2, axis=5)
    return twice.reshape(rows * columns * 4, -1).astype(np.float32)


def stored(image: Image.Image, row: Drawing, codec: Codec) -> list[Image.Image]:
    """What a reader gets back of the pictures that a pack stores."""
    return [Image.open(io.BytesIO(encode(one, codec))) for one in render(image, row)]


with np.load(GOLDEN / "qwen2_vl.pillow13.npz") as arrays:
    QWEN = dict(arrays)


@pytest.mark.parametrize("codec", ["png", "webp"])
@pytest.mark.parametrize("name", [name for name in QWEN if "pixel_values" in name])
def test_a_rendered_image_equals_the_qwen_processor(name: str, codec: Codec) -> None:
    image, preset, what = name.split("__")
    alpha: Alpha = "drop" if what.endswith("drop_alpha_tf4.57.1") else "white"
    _, rows, columns = QWEN[f"{image}__{preset}__grid_thw"][0].tolist()
    data = (GOLDEN / "images" / f"{image}.png").read_bytes()
    (found,) = stored(decode(data, 1, alpha), sized((columns * 14, rows * 14)), codec)
    assert np.abs(qwen_patches(found) - QWEN[name]).max() <= 1e-6


def test_padding_has_its_colour_and_place() -> None:
    image = picture(1, (40, 24))
    (canvas,) = render(image, sized((40, 24), canvas=(50, 30), xy=(4, 5)))
    assert canvas.size == (50, 30)
    assert np.array_equal(np.asarray(canvas.crop((4, 5, 44, 29))), np.asarray(image))
    outside = np.asarray(canvas).copy()
    outside[5:29, 4:44] = (1, 2, 3)
    assert np.array_equal(outside, np.broadcast_to([1, 2, 3], (30, 50, 3)))


def test_the_thumbnail_is_resized_from_the_original_and_comes_last() -> None:
    image = picture(2, (90, 60))
    canvas, thumbnail = render(image, sized((30, 20), thumbnail=28))
    assert canvas.size == (30, 20)
    expected = image.resize((28, 28), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(thumbnail), np.asarray(expected))


@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "webp", "tiff"])
def test_the_orientation_is_applied_once(kind: str, code: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = code
    image = picture(1, (40, 24))
    data = encoded(
        image, kind, exif=tags.tobytes(), **({"lossless": True} if kind == "webp" else {})
    )
    found = decode(data, code, "drop")
    assert np.array_equal(np.asarray(found), np.asarray(upright(image, code)))
    assert found.info == {}


def test_an_orientation_turns_as_exif_says() -> None:
    image = picture(1, (40, 24))
    tags = image.getexif()
    for code in range(1, 9):
        tags[0x0112] = code
        copy = Image.open(io.BytesIO(encoded(image, "png", exif=tags.tobytes())))
        expected = ImageOps.exif_transpose(copy)
        assert np.array_equal(np.asarray(upright(image, code)), np.asarray(expected))


def test_alpha_is_dropped_or_laid_on_white() -> None:
    image = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    data = encoded(image, "png")
    assert decode(data, 1, "drop").getpixel((0, 0)) == (10, 20, 30)
    assert decode(data, 1, "white").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["palette", "grey and alpha", "colour key", "gif"])
def test_white_is_what_transformers_composites(kind: str) -> None:
    transforms = pytest.importorskip("transformers.image_transforms")
    image = picture(3, (40, 24))
    if kind == "grey and alpha":
        image = image.convert("LA")
        image.putalpha(picture(2, (40, 24)).convert("L"))
        data = encoded(image, "png")
    elif kind == "colour key":
        data = encoded(image, "png", transparency=image.getpixel((3, 3)))
    else:
        data = encoded(image.quantize(16), "gif" if kind == "gif" else "png", transparency=3)
    expected = transforms.convert_to_rgb(Image.open(io.BytesIO(data)), return_numpy=True)
    assert np.array_equal(np.asarray(decode(data, 1, "white")), expected)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = picture(1, (40, 24)).convert(mode)
    data = encoded(image, "tiff")
    found = decode(data, 1, "white")
    assert found.mode == "RGB"
    assert np.array_equal(np.asarray(found), np.asarray(image.convert("RGB")))


def test_the_first_frame_of_an_animation_is_used() -> None:
    first, second = picture(1, (40, 24)), picture(9, (40, 24))
    data = encoded(first, "webp", save_all=True, append_images=[second], lossless=True)
    assert np.array_equal(np.asarray(decode(data, 1, "drop")), np.asarray(first))


def test_pixels_that_do_not_decode_are_a_fault() -> None:
    def reason(data: bytes) -> Reason:
        with pytest.raises(Fault) as caught:
            decode(data, 1, "white")
        return caught.value.reason

    jpeg = encoded(picture(1, (90, 70)), "jpeg")
    assert reason(jpeg[: len(jpeg) // 2]) is Reason.TRUNCATED
    assert reason(broken_png()) is Reason.UNDECODABLE
    assert reason(b"") is Reason.EMPTY_FILE
    assert reason(b"text") is Reason.NOT_MEDIA


def test_lossless_codecs_keep_every_pixel_and_jpeg_every_chroma_sample() -> None:
    image = picture(4, (33, 21))
    for codec in ("png", "webp"):
        (found,) = stored(image, sized((33, 21)), codec)
        assert np.array_equal(np.asarray(found.convert("RGB")), np.asarray(image))
    (jpeg,) = stored(image, sized((33, 21)), "jpeg")
    assert isinstance(jpeg, JpegImagePlugin.JpegImageFile)
    assert [layer[1:3] for layer in jpeg.layer] == [(1, 1)] * 3
    assert jpeg.quantization[0][0] == 2  # quality 95


def test_only_an_upright_opaque_picture_of_the_wanted_size_passes_through() -> None:
    item: ItemRow = {
        "format": "jpeg",
        "mode": "RGB",
        "alpha": False,
        "width": 56,
        "height": 28,
        "orientation": 1,
        "notes": ["wrong_extension"],
    }
    row = sized((56, 28))
    assert passes_through(item, row)
    assert passes_through({**item, "format": "webp"}, row)
    assert not passes_through({**item, "format": "gif"}, row)
    assert not passes_through({**item, "mode": "L"}, row)
    assert not passes_through({**item, "alpha": True}, row)
    assert not passes_through({**item, "orientation": 3}, row)
    assert not passes_through({**item, "notes": ["animated"]}, row)
    assert not passes_through({**item, "width": 57}, row)
    assert not passes_through(item, sized((56, 28), canvas=(56, 56)))
    assert not passes_through(item, sized((56, 28), thumbnail=28))
