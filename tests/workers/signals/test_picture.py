"""What is measured follows what is seen, and hashes survive what a copy goes through."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from schemas.reasons import Reason
from tests.tiny_source import encoded
from workers.faults import Fault
from workers.signals.picture import PictureSignals, picture_signals


def scene(seed: int, size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Smooth shapes, as photographs have them."""
    draw = np.random.default_rng(seed)
    small = draw.integers(0, 256, (12, 16, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def measured(image: Image.Image, kind: str = "jpeg") -> PictureSignals:
    options = {"quality": 90} if kind == "jpeg" else {}
    return picture_signals(encoded(image, kind, **options), kind, *image.size)


def distance(one: bytes, other: bytes) -> int:
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_a_copy_has_nearly_the_same_hash(seed: int) -> None:
    """Smaller, compressed harder, in another format."""
    first = measured(scene(seed))
    small = scene(seed).resize((500, 375), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.save(data, "jpeg", quality=40)
    again = picture_signals(data.getvalue(), "jpeg", 500, 375)
    assert distance(first.phash, again.phash) <= 4
    assert distance(first.phash256, again.phash256) <= 32
    assert distance(first.phash, measured(scene(seed), "png").phash) <= 4
    other = measured(scene(seed + 100))
    assert distance(first.phash, other.phash) > 12


def test_a_hash_is_that_of_its_definition() -> None:
    """Of a picture that needs no reduction, by the sums that define the transform."""
    place = np.arange(32)
    waves = np.cos(np.pi * (2 * place + 1) * place[:, None] / 64)
    waves *= np.sqrt(np.where(place == 0, 1 / 32, 1 / 16)).reshape(-1, 1)
    image = scene(3, (32, 32)).convert("L").convert("RGB")
    grey = np.asarray(image.convert("L"), np.float64)
    low = (waves @ grey @ waves.T)[:8, :8]
    assert measured(image, "png").phash == np.packbits(low > np.median(low)).tobytes()


def test_measures_follow_what_is_seen() -> None:
    image = scene(1)
    first = measured(image)
    blurred = measured(image.filter(ImageFilter.GaussianBlur(8)))
    grey = measured(image.convert("L").convert("RGB"))
    darker = measured(Image.fromarray(np.asarray(image) // 4))
    assert blurred.sharpness < first.sharpness
    assert grey.colourfulness < 2 < first.colourfulness
    assert darker.brightness < first.brightness / 2
    assert darker.contrast < first.contrast
    assert darker.entropy < first.entropy
    assert not first.blank


@pytest.mark.parametrize("colour", ["white", "black", "red"])
def test_a_single_colour_is_blank(colour: str) -> None:
    found = measured(Image.new("RGB", (300, 200), colour))
    assert found.blank
    assert found.entropy < 0.5
    assert found.sharpness < 1


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (900, 3), (65, 64)])
def test_any_size_is_measured(size: tuple[int, int]) -> None:
    for kind in ("jpeg", "png"):
        assert len(measured(scene(0, size), kind).phash) == 8


def test_what_does_not_decode_is_a_fault() -> None:
    data = encoded(scene(0), "png")
    with pytest.raises(Fault) as fault:
        picture_signals(data[: len(data) // 2], "png", 640, 480)
    assert fault.value.reason in (Reason.TRUNCATED, Reason.UNDECODABLE)
