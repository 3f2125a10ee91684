"""`contain` and `middle` are what Pillow does."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from workers.policies.contain import contain, middle

SIDES = st.integers(1, 300)


@settings(deadline=None)
@given(SIDES, SIDES, SIDES, SIDES)
def test_size_and_place_of_pillow(width: int, height: int, wide: int, high: int) -> None:
    picture = Image.new("L", (width, height), 255)
    size = contain((np.array([width]), np.array([height])), np.array([[wide, high]]))
    assert tuple(size[0].tolist()) == ImageOps.contain(picture, (wide, high)).size
    left, top = middle(np.array([[wide, high]]), size)[0].tolist()
    box = ImageOps.pad(picture, (wide, high), color=0).getbbox()
    if 0 in size:
        assert box is None
    else:
        assert box == (left, top, left + size[0, 0], top + size[0, 1])


def test_a_refused_picture_has_no_canvas_and_no_size() -> None:
    size = contain((np.array([1]), np.array([1])), np.array([[0, 0]]))
    assert size.tolist() == [[0, 0]]
