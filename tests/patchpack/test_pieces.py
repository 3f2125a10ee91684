"""Crops that are resized one by one: drawn as in Pillow, with maps that lead back to the source."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from patchpack.drawing import cut, draw, resized
from patchpack.item_geometry import ItemGeometry
from patchpack.view_maps import to_source, view_maps
from schemas.sized import Ragged, images
from workers.depth import depth_views
from workers.policies.aria import Aria
from workers.policies.drawing import Canvas, drawn
from workers.policies.gemma3 import Gemma3
from workers.policies.ovis2 import Ovis2
from workers.policies.protocol import Policy

PAN_AND_SCAN = Gemma3(image_size=112, do_pan_and_scan=True)
SIZED = PAN_AND_SCAN.size(images(np.array([200]), np.array([150])))
"""Of one picture, for other ways to draw it."""


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


PIECES = [[40, 30, 3, 5, 50, 36], [25, 20, 0, 0, 25, 20], [24, 24, 8, 0, 40, 24]]


def test_each_crop_is_resized_and_pasted_as_pillow_does_it() -> None:
    """Of a canvas with padding; the second crop fills its canvas, the third only moves."""
    boxes = [(0, 0, 70, 50), (70, 0, 120, 40), (96, 56, 120, 80)]
    way = drawn(
        np.array([[100, 60]]),
        canvas=Canvas(wh=np.array([[120, 80]]), xy=np.array([[10, 8]]), rgb=(7, 60, 250)),
        crops=Ragged.from_counts(np.array(boxes), np.array([3])),
        pieces=Ragged.from_counts(np.array(PIECES), np.array([3])),
        resample="lanczos",
    )
    image = picture(200, 150)
    shape: ItemGeometry = replace(SIZED, drawn=way).to_table().to_pylist()[0]
    canvas = Image.new("RGB", (120, 80), (7, 60, 250))
    canvas.paste(image.resize((100, 60), Image.Resampling.LANCZOS), (10, 8))
    found = cut(draw(image, shape), shape)
    for view, box, (width, height, x, y, *wh) in zip(found, boxes, PIECES, strict=True):
        crop = canvas.crop(box)
        assert crop.size != (width, height) or box == boxes[2]
        wanted = Image.new("RGB", (wh[0], wh[1]), (7, 60, 250))
        wanted.paste(crop.resize((width, height), Image.Resampling.LANCZOS), (x, y))
        assert view.size == wanted.size
        assert view.tobytes() == wanted.tobytes()


def test_crops_of_the_source_cost_no_resize_of_it() -> None:
    image, shape = picture(700, 400), geometry(PAN_AND_SCAN, 700, 400)
    assert shape["resized_wh"] == shape["canvas_wh"] == shape["view_wh"] == [700, 400]
    sizes = []

    def resize(one: Image.Image, size: tuple[int, int], resample: str) -> Image.Image:
        sizes.append(size)
        return resized(one, size, resample)

    view, _ = draw(image, shape, resize)
    assert view is image
    assert sizes == [(112, 112)]  # its thumbnail


def test_a_piece_leads_back_to_its_pixels() -> None:
    shape = geometry(PAN_AND_SCAN, 700, 400)
    (_, left, right) = view_maps([700, 400], shape)
    assert np.allclose(to_source([[0, 0], [112, 112]], left), [[0, 0], [350, 400]])
    assert np.allclose(to_source([[0, 0], [56, 28]], right), [[350, 0], [525, 100]])
    shape["pieces"] = [[56, 64, 28, 24, 112, 112]] * 2  # smaller, in the middle of their canvas
    (_, _, right) = view_maps([700, 400], shape)
    assert right.size == (112, 112)
    assert np.allclose(to_source([[28, 24], [84, 88]], right), [[350, 0], [700, 400]])


def test_gemma3_cuts_the_picture_and_stretches_each_crop() -> None:
    image = picture(700, 400)
    found = views(PAN_AND_SCAN, image)
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
    [PAN_AND_SCAN, Ovis2(), Aria(split_image=True)],
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
