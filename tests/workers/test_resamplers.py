"""OpenCV in place of Pillow: the same sizes, nearly the same pixels, no source pixel ignored."""

import numpy as np
import pytest
from PIL import Image

from patchpack.item_geometry import Drawing
from schemas.sized import images
from workers.pixels import render
from workers.policies.fixed import Fixed
from workers.policies.internvl import InternVL
from workers.policies.llava15 import Llava15
from workers.policies.protocol import Policy


def row(policy: Policy, width: int, height: int) -> Drawing:
    sized = policy.size(images(np.array([width]), np.array([height])))
    found: Drawing = sized.to_table().to_pylist()[0]
    return found


def smooth(width: int, height: int) -> Image.Image:
    """Waves of many pixels in each channel."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    waves = [np.sin(x / 40 + y / 90), np.cos(x / 70), np.sin(y / 50)]
    return Image.fromarray((np.stack(waves, axis=2) * 100 + 128).astype(np.uint8))


@pytest.mark.parametrize("size", [(640, 480), (100, 90), (1000, 31), (31, 1000), (448, 448)])
@pytest.mark.parametrize("policy", [InternVL(), Llava15(), Fixed()])
def test_the_pictures_are_nearly_those_of_pillow(policy: Policy, size: tuple[int, int]) -> None:
    image, sized = smooth(*size), row(policy, *size)
    both = zip(render(image, sized), render(image, sized, "opencv"), strict=True)
    for pillow, opencv in both:
        assert pillow.size == opencv.size
        apart = np.abs(np.asarray(pillow, np.int16) - np.asarray(opencv, np.int16))
        assert apart.mean() < 2


def test_every_source_pixel_counts_where_only_one_side_shrinks() -> None:
    stripes = np.zeros((31, 1008, 3), np.uint8)
    stripes[:, ::3] = 255  # a third of all columns
    sized = row(Fixed(), 1008, 31)
    [view] = render(Image.fromarray(stripes), sized, "opencv")
    assert np.unique(np.asarray(view)).tolist() == [85]


def test_a_finished_picture_is_left_alone() -> None:
    image = smooth(336, 336)
    [view] = render(image, row(Fixed(), 336, 336), "opencv")
    assert np.array_equal(np.asarray(view), np.asarray(image))
