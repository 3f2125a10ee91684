"""Crops that are resized one by one: drawn as in Pillow, with maps that lead back to the source."""

import numpy as np
import pytest
from PIL import Image

from patchpack.drawing import cut, draw
from patchpack.item_geometry import ItemGeometry
from patchpack.view_maps import to_source, view_maps
from schemas.sized import images
from workers.depth import depth_views
from workers.policies.aria import Aria
from workers.policies.gemma3 import Gemma3
from workers.policies.ovis2 import Ovis2
from workers.policies.protocol import Policy


def picture(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def geometry(policy: Policy, width: int, height: int) -> ItemGeometry:
    sized = policy.size(images(np.array([width]), np.array([height])))
    row: ItemGeometry = sized.to_table().to_pylist()[0]
    return row


def views(policy: Policy, image: Image.Image) -> list[Image.Image]:
    shape = geometry(policy, *image.size)
    return cut(draw(image, shape), shape)


def test_gemma3_cuts_the_picture_and_stretches_each_crop() -> None:
    image = picture(700, 400)
    policy = Gemma3(image_size=112, do_pan_and_scan=True)
    found = views(policy, image)
    boxes = [(0, 0, 700, 400), (0, 0, 350, 400), (350, 0, 700, 400)]
    wanted = [image.crop(box).resize((112, 112), Image.Resampling.BILINEAR) for box in boxes]
    assert [one.tobytes() for one in found] == [one.tobytes() for one in wanted]


def test_ovis2_lays_each_crop_in_the_middle_of_its_tile() -> None:
    image = picture(900, 300)
    shape = geometry(Ovis2(), 900, 300)
    assert len(shape["crops_ltrb"]) == len(shape["pieces"]) > 1
    whole, first, *_ = views(Ovis2(), image)
    left, top, right, bottom = shape["crops_ltrb"][0]
    width, height, x, y, *canvas = shape["pieces"][0]
    wanted = Image.new("RGB", (canvas[0], canvas[1]), (122, 116, 104))
    crop = image.crop((left, top, right, bottom))
    wanted.paste(crop.resize((width, height), Image.Resampling.BICUBIC), (x, y))
    assert first.tobytes() == wanted.tobytes()
    assert whole.size == (448, 448)


def test_aria_makes_every_piece_of_its_canvas_a_square() -> None:
    found = views(Aria(split_image=True), picture(640, 480))
    assert [one.size for one in found] == [(980, 980)] * len(found)


@pytest.mark.parametrize(
    "policy",
    [Gemma3(image_size=112, do_pan_and_scan=True), Ovis2(), Aria(split_image=True)],
    ids=lambda one: one.kind,
)
def test_maps_and_depth_follow_the_pieces(policy: Policy) -> None:
    width, height = 900, 300
    shape = geometry(policy, width, height)
    maps = view_maps([width, height], shape)
    shown = views(policy, picture(width, height))
    assert [one.size for one in maps] == [one.size for one in shown]
    ramp = np.tile(np.arange(1, width + 1, dtype=np.float32), (height, 1))
    for one, depth in zip(maps, depth_views(ramp, shape), strict=True):
        rows, columns = np.nonzero(depth)
        x = to_source(np.stack([columns + 0.5, rows + 0.5], axis=1), one)[:, 0]
        within = (x > 0) & (x < width)
        assert within.mean() > 0.99
        # Aria's canvas, then pieces: each nearest neighbour may be half a pixel off
        assert np.abs(x[within] + 0.5 - depth[rows, columns][within]).max() <= 3
