"""Depth maps of posed views: brought to the picture's views, and lifted to places in the world.

1. `decode_depth`: a 16-bit PNG -> metres; 0 = no depth.
2. `depth_views`: what the pixels of the picture go through, by nearest neighbour; padding is 0.
3. `patch_xyz`: the top left pixel of each patch -> camera -> world, as LLaVA-3D takes it (not the
   middle of the patch: half a patch of 14 pixels at 2 m and f = 290 pixels is 5 cm).

A depth map may have another resolution than its picture, but must show the same section of the
world, upright. Pixel columns count from 0 here, as in the reference: no half pixel is added.
Sources: ZCMax/LLaVA-3D llava/model/multimodal_encoder/unproject.py (`unproject`),
video_processor.py (`preprocess_depth_image`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchpack.item_geometry import Placement
from schemas.reasons import Reason
from workers.completeness import missing_end
from workers.faults import Fault
from workers.headers import open_picture, picture_format, pillow_faults
from workers.sources.sample import Camera

Depth = npt.NDArray[np.float32]
"""[H, W] metres along the optical axis; 0, NaN or infinite where nothing was measured."""

STEPS_A_METRE = 1000.0
"""Millimetres: ScanNet and 3RScan. Matterport3D has 4000."""


def decode_depth(data: bytes, steps_a_metre: float = STEPS_A_METRE) -> Depth:
    """A 16-bit grey PNG as metres. Raises Fault as `open_depth`, and undecodable."""
    image = open_depth(data)
    with pillow_faults("png"):
        image.load()
    return (np.asarray(image) / steps_a_metre).astype(np.float32)


def open_depth(data: bytes) -> Image.Image:
    """A 16-bit grey PNG that is all there by its header and chunks, not yet decoded.

    Raises Fault: empty_file, not_media, truncated, too_many_pixels, unsupported_mode, undecodable.
    """
    kind = picture_format(data)
    if kind != "png":
        raise Fault(Reason.UNSUPPORTED_MODE, f"a depth map as {kind}: expected a 16-bit grey png")
    if what := missing_end(kind, data):
        raise Fault(Reason.TRUNCATED, what)
    image = open_picture(data, kind)
    if image.mode != "I;16":
        what = f"a depth map as png of mode {image.mode}: expected 16-bit grey"
        raise Fault(Reason.UNSUPPORTED_MODE, what)
    return image


def depth_views(depth: Depth, placement: Placement) -> list[Depth]:
    """The depth of each view of the picture, in the order of `view_maps`.

    Sizes on the way to `resized_wh` are left out: they would only blur where a depth is from.
    """
    if not all(placement["resized_wh"]):
        return []
    canvas = _pasted(
        _nearest(depth, placement["resized_wh"]), placement["paste_xy"], placement["canvas_wh"]
    )
    whole = _nearest(canvas, placement["view_wh"])
    crops = [whole[top:bottom, left:right] for left, top, right, bottom in placement["crops_ltrb"]]
    shown = crops or [whole]
    if pieces := placement.get("pieces"):
        pairs = zip(shown, pieces, strict=True)
        shown = [_pasted(_nearest(one, at[:2]), at[2:4], at[4:]) for one, at in pairs]
    if placement["thumbnail"] == "none":
        return shown
    small = _nearest(
        depth if placement["thumbnail_of"] == "source" else whole, placement["thumbnail_resized_wh"]
    )
    thumbnail = _pasted(small, placement["thumbnail_xy"], placement["thumbnail_wh"])
    return [thumbnail, *shown] if placement["thumbnail"] == "first" else [*shown, thumbnail]


def patch_xyz(depth: Depth, camera: Camera, grid_hw: tuple[int, int]) -> npt.NDArray[np.float32]:
    """[rows * columns, 3] world coordinates of the patches of a view, row by row, in metres.

    `camera` has the intrinsics of the view (`view_intrinsics`). NaN without depth.
    """
    (height, width), (rows, columns) = depth.shape, grid_hw
    y, x = np.arange(rows) * height // rows, np.arange(columns) * width // columns
    measured = depth[np.ix_(y, x)].astype(np.float64)
    z = np.where(np.isfinite(measured) & (measured > 0), measured, np.nan)
    fx, fy, cx, cy = camera.intrinsics
    right, down = (x - cx) * z / fx, (y[:, None] - cy) * z / fy
    up = -1.0 if camera.convention == "opengl" else 1.0  # its y goes up and its z backward
    pose = np.asarray(camera.pose, np.float64).reshape(4, 4)
    world = [a * right + b * (up * down) + c * (up * z) + d for a, b, c, d in pose[:3]]
    return np.stack(world, axis=-1).reshape(-1, 3).astype(np.float32)


def _nearest(depth: Depth, size: Sequence[int]) -> Depth:
    """As Pillow resizes 16-bit pictures; in one of floats it takes the earlier pixel at a tie."""
    height, width = depth.shape
    x = (np.arange(size[0]) + 0.5) * (width / size[0])
    y = (np.arange(size[1]) + 0.5) * (height / size[1])
    return depth[np.ix_(y.astype(np.int64), x.astype(np.int64))]


def _pasted(depth: Depth, at_xy: Sequence[int], on_wh: Sequence[int]) -> Depth:
    """On a canvas without depth; what lies outside of it is cut off."""
    (left, top), (width, height) = at_xy, on_wh
    if depth.shape == (height, width) and not (left or top):
        return depth
    canvas = np.zeros((height, width), np.float32)
    part = depth[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    y, x = max(top, 0), max(left, 0)
    canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
    return canvas
