from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from patchpack.item_geometry import Placement
from patchpack.view_maps import View, to_source, to_view, view_intrinsics, view_maps
from pipelines.policies import policy_kinds
from tests.workers.placements import placement
from workers.coordinates import clip, thousandths, whole_pixels
from workers.geometry import geometry
from workers.policies.deepseek_vl2 import DeepSeekVL2
from workers.policies.fixed import Fixed
from workers.policies.internvl import InternVL
from workers.policies.llava15 import Llava15
from workers.policies.llava_next import LlavaNext
from workers.policies.llava_onevision import LlavaOneVision
from workers.policies.protocol import Policy
from workers.policies.qwen2_vl import Qwen2VL

POLICIES: list[Policy] = [model() for model in policy_kinds().values()]

policies = st.sampled_from(POLICIES)
sizes = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
shares = st.floats(0, 1)
lenses = st.tuples(*[st.floats(0.1, 1e4)] * 2, *[st.floats(-1e4, 1e4)] * 2)
places = st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.1, 100))


def sized(policy: Policy, wh: tuple[int, int]) -> Placement:
    (record,) = geometry(policy, [{"width": wh[0], "height": wh[1]}])
    return cast("Placement", record) if "resized_wh" in record else placement((0, 0))


def projected(place: tuple[float, float, float], lens: npt.ArrayLike) -> npt.NDArray[np.float64]:
    fx, fy, cx, cy = np.asarray(lens, np.float64)
    x, y, z = place
    return np.array([fx * x / z + cx, fy * y / z + cy])


def drawn(picture: Image.Image, row: Placement) -> list[Image.Image]:
    """The views of a one-channel picture, by the steps that `schemas.sized.Drawn` names."""
    filter_ = Image.Resampling.BILINEAR

    def pasted(image: Image.Image, wh: list[int], xy: list[int]) -> Image.Image:
        canvas = Image.new("F", (wh[0], wh[1]), -1.0)
        canvas.paste(image, (xy[0], xy[1]))
        return canvas

    def resized(image: Image.Image, wh: list[int]) -> Image.Image:
        return image.resize((wh[0], wh[1]), filter_)

    canvas = pasted(resized(picture, row["resized_wh"]), row["canvas_wh"], row["paste_xy"])
    whole = resized(canvas, row["view_wh"])
    shown = [whole.crop((x1, y1, x2, y2)) for x1, y1, x2, y2 in row["crops_ltrb"]] or [whole]
    if pieces := row.get("pieces"):
        pairs = zip(shown, pieces, strict=True)
        shown = [pasted(resized(one, at[:2]), at[4:], at[2:4]) for one, at in pairs]
    if row["thumbnail"] == "none":
        return shown
    small = picture if row["thumbnail_of"] == "source" else whole
    small = resized(small, row["thumbnail_resized_wh"])
    thumbnail = pasted(small, row["thumbnail_wh"], row["thumbnail_xy"])
    return [thumbnail, *shown] if row["thumbnail"] == "first" else [*shown, thumbnail]


@settings(deadline=None)
@given(policies, sizes, shares, shares, shares, shares)
def test_a_box_comes_back_from_every_view(
    policy: Policy, wh: tuple[int, int], left: float, top: float, right: float, bottom: float
) -> None:
    box = np.array([left, top, right, bottom]) * [*wh, *wh]
    for view in view_maps(wh, sized(policy, wh)):
        np.testing.assert_allclose(to_source(to_view(box, view), view), box, 1e-6, 1e-6 * max(wh))


@settings(deadline=None)
@given(policies, sizes, places, lenses)
def test_a_point_in_space_lands_on_the_same_spot_of_the_picture(
    policy: Policy,
    wh: tuple[int, int],
    place: tuple[float, float, float],
    lens: tuple[float, float, float, float],
) -> None:
    spot = projected(place, lens)
    for view in view_maps(wh, sized(policy, wh)):
        seen = projected(place, view_intrinsics(lens, view))
        slack = 1e-9 * (1 + np.abs(seen).max() + np.abs(view_intrinsics(lens, view)).max() * 500)
        np.testing.assert_allclose(seen, to_view(spot, view), 1e-9, slack)
        if view.offset == (0, 0) and np.allclose(np.multiply(view.scale, wh), view.size):
            share = 1e-9 * (1 + np.abs(spot / wh).max() + np.abs(lens).max() * 500)
            np.testing.assert_allclose(seen / view.size, spot / wh, 1e-9, share)


@settings(deadline=None)
@given(st.sampled_from([Fixed(), Qwen2VL()]), sizes)
def test_a_view_of_the_whole_picture_has_its_corners(policy: Policy, wh: tuple[int, int]) -> None:
    found = view_maps(wh, sized(policy, wh))
    assume(found)
    (view,) = found
    corners = to_view([0, 0, *wh], view)
    np.testing.assert_allclose(corners, [0, 0, *view.size], rtol=1e-12)


@settings(deadline=None)
@given(st.sampled_from([InternVL(), LlavaNext(), LlavaOneVision()]), sizes, shares, shares)
def test_every_point_of_the_picture_lies_in_one_crop(
    policy: Policy, wh: tuple[int, int], x: float, y: float
) -> None:
    row = sized(policy, wh)
    first = row["thumbnail"] == "first"
    crops = view_maps(wh, row)[int(first) : len(row["crops_ltrb"]) + int(first)]
    assume(crops)
    point = np.minimum(np.multiply([x, y], wh), np.subtract(wh, 1e-6))
    inside = [
        (to_view(point, view) >= 0).all() and (to_view(point, view) < view.size).all()
        for view in crops
    ]
    assert sum(inside) == 1
    box = [0.25 * wh[0], 0.25 * wh[1], *np.maximum(point, np.multiply(wh, 0.26))]
    cut = [clip(to_view(box, view), view) for view in crops]
    areas = [float(np.prod(part[2:] - part[:2])) for part, there in cut if there]
    edges = to_view(box, crops[0])
    assert sum(areas) == pytest.approx(np.prod(edges[2:] - edges[:2]))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
@pytest.mark.parametrize("wh", [(640, 480), (300, 900), (61, 47)])
def test_the_pixels_lie_where_the_map_says(policy: Policy, wh: tuple[int, int]) -> None:
    """A picture whose values are its own coordinates, drawn: every pixel tells where it is from."""
    x, y = np.meshgrid(np.arange(wh[0]) + 0.5, np.arange(wh[1]) + 0.5)
    (record,) = geometry(policy, [{"width": wh[0], "height": wh[1]}])
    if record["drop"]:
        pytest.skip(record["message"])
    row = cast("Placement", record)
    maps = view_maps(wh, row)
    assert len(maps) == len(record["grid_thw"])
    for axis, values in enumerate((x, y)):
        pictures = drawn(Image.fromarray(values.astype(np.float32)), row)
        for picture, view in zip(pictures, maps, strict=True):
            assert picture.size == view.size
            middles = np.stack(np.meshgrid(*(np.arange(side) + 0.5 for side in view.size)), axis=-1)
            source = to_source(middles, view)
            margin = 3 + 3 / min(view.scale)  # filters blend with the edge and with padding
            inner = ((source > margin) & (source < np.subtract(wh, margin))).all(axis=-1)
            if row.get("pieces"):  # a map goes on where a crop ends and its canvas begins
                inner &= np.asarray(picture) >= 0
            found = np.asarray(picture)[inner]
            slack = 0.15 * max(1, *np.divide(1, view.scale))  # of half a pixel, for the filter
            np.testing.assert_allclose(found, source[inner][:, axis], atol=slack)


def test_a_padded_picture_is_shrunk_after_padding() -> None:
    """LLaVA-1.5: 200 x 100 on a square of 200, then 336: the picture takes rows 84 to 252."""
    (view,) = view_maps((200, 100), sized(Llava15(), (200, 100)))
    assert to_view([0, 0, 200, 100], view).tolist() == [0, 84, 336, 252]
    assert view_intrinsics([100, 100, 100, 50], view).tolist() == [168, 168, 168, 168]


@pytest.mark.parametrize("where", ["first", "last"])
def test_thumbnails_have_maps_of_their_own(where: str) -> None:
    row = placement((20, 10), canvas=(20, 20), xy=(0, 5), crops=[[0, 0, 10, 20], [10, 0, 20, 20]])
    small = {"thumbnail": where, "thumbnail_wh": [8, 8]}
    left, right = View((0.5, 0.5), (0, 5), (10, 20)), View((0.5, 0.5), (-10, 5), (10, 20))
    from_source: Any = {"thumbnail_resized_wh": [8, 4], "thumbnail_xy": [0, 2]}
    thumbnail = View((0.2, 0.2), (0, 2), (8, 8))
    wanted = [thumbnail, left, right] if where == "first" else [left, right, thumbnail]
    assert view_maps((40, 20), cast("Placement", row | small | from_source)) == wanted
    for of in ("canvas", "model"):
        whole: Any = {"thumbnail_of": of, "thumbnail_resized_wh": [8, 8]}
        assert view_maps((40, 20), cast("Placement", row | small | whole)) == wanted


def test_a_refused_picture_has_no_views() -> None:
    assert view_maps((1, 768), sized(DeepSeekVL2(), (1, 768))) == []  # its thumbnail has no pixels
    assert view_maps((0, 0), placement((0, 0))) == []


def test_clipping_tells_what_is_left() -> None:
    boxes = [[-5, -5, 5, 5], [10, 0, 12, 4], [2, 3, 4, 20], [2, -9, 4, 0], [-3, 2, 99, 3]]
    inside, there = clip(boxes, View((1, 1), (0, 0), (10, 8)))
    assert there.tolist() == [True, False, True, False, True]
    assert inside[there].tolist() == [[0, 0, 5, 5], [2, 3, 4, 8], [0, 2, 10, 3]]
    assert clip(np.zeros((0, 4)), View((1, 1), (0, 0), (10, 8)))[0].shape == (0, 4)


def test_thousandths_are_rounded_as_published() -> None:
    """Qwen's own example, and halves: Python rounds 0.5 down to 0 and 1.5 up to 2."""
    assert thousandths([146, 137, 615, 415], (640, 428)).tolist() == [228, 320, 961, 970]
    assert thousandths([[1, 3], [2000, -7]], (2000, 2000)).tolist() == [[0, 2], [1000, 0]]


def test_whole_pixels_are_those_of_the_resized_picture() -> None:
    """Qwen's own example for Qwen2.5-VL: 640 x 428 becomes 644 x 420."""
    (view,) = view_maps((640, 428), sized(Qwen2VL(max_pixels=14 * 14 * 4 * 1280), (640, 428)))
    assert view.size == (644, 420)
    box = to_view([146, 137, 615, 415], view)
    assert whole_pixels(box, view.size).tolist() == [147, 134, 619, 407]
    assert whole_pixels(to_view([0, 0, 640, 428], view), view.size).tolist() == [0, 0, 643, 419]
