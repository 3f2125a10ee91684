from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from schemas.reasons import Reason
from tests.workers.placements import placement
from workers import cameras
from workers.cameras import camera_arrays, lenses, render_xyz
from workers.faults import Fault
from workers.gather import Geometry, Item, Source

EYE = [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


def png(depth: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.array(depth, np.uint16)).save(out, "png")
    return out.getvalue()


def item(where: Any, grids: list[list[int]], **source: Any) -> Item:
    """A view of 40 × 20 pixels, whose camera looks along z from where the world begins."""
    camera = {"intrinsics": [10.0, 10.0, 20.0, 10.0], "pose": EYE, "camera_convention": "opencv"}
    found = {"width": 40, "height": 20, "depth_steps_a_metre": 1000.0, **camera, **source}
    blank: dict[str, Any] = dict.fromkeys(Source._fields)
    shape: dict[str, Any] = dict.fromkeys(Geometry._fields)
    return Item(Source(**blank | found), Geometry(**shape | where | {"grid_thw": grids}), [])


def test_a_wall_is_flat_in_every_view() -> None:
    """At 2 m, shown in halves of 20 × 20 and a thumbnail of 10 × 5: x = (column - 20) * 2 / 10."""
    where: Any = placement((40, 20), crops=[[0, 0, 20, 20], [20, 0, 40, 20]])
    where |= {"thumbnail": "last", "thumbnail_wh": [10, 5], "thumbnail_resized_wh": [10, 5]}
    wall = item(where, [[1, 2, 2], [1, 2, 2], [1, 1, 2]])
    xyz = np.frombuffer(render_xyz(wall, png([[2000] * 8] * 4)), "<f4").reshape(-1, 3)
    corners = [(0, 0), (10, 0), (0, 10), (10, 10), (20, 0), (30, 0), (20, 10), (30, 10)]
    wanted = [((x - 20) / 5, (y - 10) / 5, 2) for x, y in [*corners, (0, 0), (20, 0)]]
    np.testing.assert_allclose(xyz, np.array(wanted), atol=1e-6)


def test_a_view_larger_than_any_picture_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "MAX_PIXELS", 40 * 20 - 1)
    with pytest.raises(Fault, match="40×20 pixels on the way") as caught:
        render_xyz(item(placement((40, 20)), [[1, 1, 1]]), png([[1]]))
    assert caught.value.reason is Reason.TOO_MANY_PIXELS


def test_a_camera_without_intrinsics_has_no_views() -> None:
    assert lenses([], (40, 20), placement((40, 20))) == []
    bare = item(placement((40, 20)), [[1, 1, 1]], intrinsics=[])
    unposed = item(placement((80, 40)), [[1, 1, 1]], pose=[])
    none = item(placement((40, 20)), [[1, 1, 1]], intrinsics=[], pose=[], camera_convention="")
    arrays = camera_arrays([bare, none, unposed], [[], [], []])
    assert arrays.camera_item.tolist() == [0, 2]
    assert np.isnan(arrays.intrinsics).all(axis=1).tolist() == [True, False]
    assert np.isnan(arrays.pose).all(axis=(1, 2)).tolist() == [False, True]
    assert arrays.view_item.tolist() == [2]
    assert arrays.view_intrinsics.tolist() == [[20, 20, 40, 20]]
    assert arrays.patch_xyz.shape == (0, 3)


def test_no_items_give_empty_arrays() -> None:
    for array in camera_arrays([], []):
        assert len(array) == 0
