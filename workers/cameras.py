"""Cameras of posed views: intrinsics of every picture that the model sees, places of its patches.

1. `lenses`: the camera's intrinsics follow the pixels into each view (`patchpack.view_maps`).
2. `render_xyz`: the depth map takes the way of the picture, and the patches of each view are lifted
   by that view's camera (`workers.depth`), in the order of `grid_thw`: 12 bytes a patch.
3. `camera_arrays`: what a pack holds of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from patchpack.arrays import CAMERA_CONVENTIONS
from patchpack.drawing import MAX_PIXELS
from patchpack.item_geometry import Placement
from patchpack.view_maps import Floats, view_intrinsics, view_maps
from schemas.reasons import Reason
from workers.depth import decode_depth, depth_views, patch_xyz
from workers.faults import Fault
from workers.gather import Geometry, Item
from workers.sources.sample import Camera

XYZ = "xyz"
"""Format of the part of a payload that is [patches, 3] little-endian float32."""


class CameraArrays(NamedTuple):
    """The arrays of a pack (`patchpack.arrays`) that come of cameras."""

    intrinsics: Floats
    pose: Floats
    camera_convention: npt.NDArray[np.uint8]
    camera_item: npt.NDArray[np.int32]
    view_intrinsics: Floats
    view_item: npt.NDArray[np.int32]
    patch_xyz: npt.NDArray[np.float32]
    xyz_item: npt.NDArray[np.int32]


def lenses(
    intrinsics: Sequence[float], source_wh: Sequence[int], placement: Placement
) -> list[Floats]:
    """fx, fy, cx, cy of each view of a picture, in the order of `grid_thw`; none without any."""
    if not intrinsics:
        return []
    return [view_intrinsics(intrinsics, view) for view in view_maps(source_wh, placement)]


def placement_of(geometry: Geometry) -> Placement:
    """Where the pixels of an item go."""
    return cast("Placement", geometry._asdict())


def render_xyz(item: Item, data: bytes) -> bytes:
    """The part `xyz` of an item's payload, from its depth map.

    Raises Fault as `decode_depth`, and too_many_pixels where a view would be larger than any
    picture that is decoded.
    """
    source, placement = item.source, placement_of(item.geometry)
    for width, height in (placement["resized_wh"], placement["canvas_wh"], placement["view_wh"]):
        if width * height > MAX_PIXELS:
            what = f"{width}×{height} pixels on the way, at most {MAX_PIXELS} are allowed"
            raise Fault(Reason.TOO_MANY_PIXELS, what)
    depths = depth_views(decode_depth(data, source.depth_steps_a_metre), placement)
    seen = lenses(source.intrinsics, (source.width, source.height), placement)
    camera = Camera(
        (), tuple(source.pose), "opengl" if source.camera_convention == "opengl" else "opencv"
    )
    xyz = [
        patch_xyz(depth, replace(camera, intrinsics=tuple(lens.tolist())), (rows, columns))
        for depth, lens, (_, rows, columns) in zip(
            depths, seen, item.geometry.grid_thw, strict=True
        )
    ]
    return np.concatenate(xyz).astype("<f4").tobytes()


def camera_arrays(
    items: Sequence[Item], xyz: Sequence[Sequence[bytes | memoryview]]
) -> CameraArrays:
    """Of the items of a pack; `xyz` has the rendered places of each, or nothing."""
    posed = [n for n, item in enumerate(items) if item.source.intrinsics or item.source.pose]
    seen = [items[number].source for number in posed]
    rows = [
        lenses(one.intrinsics, (one.width, one.height), placement_of(items[number].geometry))
        for number, one in zip(posed, seen, strict=True)
    ]
    places = [np.frombuffer(b"".join(parts), "<f4").reshape(-1, 3) for parts in xyz]
    return CameraArrays(
        intrinsics=_numbers([one.intrinsics for one in seen], 4),
        pose=_numbers([one.pose for one in seen], 16).reshape(-1, 4, 4),
        camera_convention=np.array(
            [CAMERA_CONVENTIONS.index(one.camera_convention) for one in seen], np.uint8
        ),
        camera_item=np.array(posed, np.int32),
        view_intrinsics=np.array([lens for one in rows for lens in one]).reshape(-1, 4),
        view_item=np.repeat(np.array(posed, np.int32), [len(one) for one in rows]),
        patch_xyz=np.concatenate([np.zeros((0, 3), np.float32), *places], dtype=np.float32),
        xyz_item=np.repeat(np.arange(len(xyz), dtype=np.int32), [len(one) for one in places]),
    )


def _numbers(rows: Sequence[Sequence[float]], width: int) -> Floats:
    """One row each; NaN where a camera does not say."""
    return np.array([row or [np.nan] * width for row in rows], np.float64).reshape(-1, width)
