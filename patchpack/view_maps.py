"""Where the pixels of a picture are in each of its views: one affine map for each view.

1. source -> resized picture -> its place on the canvas -> the canvas at `view_wh`: a scale and an
   offset in x and in y, whatever filter, intermediate sizes or transposition the pixels take.
2. A crop moves the origin, and a piece resizes and pastes it again; the thumbnail has a map of its
   own, from the source or that canvas.

Coordinates are continuous: (0, 0) is the top left corner of the top left pixel, so the middle of a
picture is (w / 2, h / 2), and that of its first pixel (0.5, 0.5). cx and cy of a camera are meant
so too; a calibration that counts from the middle of the first pixel (OpenCV's) needs 0.5 added.
The frames of a video have the views of one picture. The source is upright, after its orientation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from patchpack.item_geometry import Placement

Floats = npt.NDArray[np.float64]
Pair = tuple[float, float]


class View(NamedTuple):
    """One picture that the model sees: source x -> x * scale + offset, in `size` (w, h) pixels."""

    scale: Pair
    offset: Pair
    size: tuple[int, int]


def view_maps(source_wh: Sequence[int], placement: Placement) -> list[View]:
    """The views of a picture in the order in which the model sees them; none of a refused one."""
    small = placement["thumbnail"] == "none" or all(placement["thumbnail_resized_wh"])
    if not (small and all(placement["resized_wh"])):
        return []
    source = View((1.0, 1.0), (0.0, 0.0), (source_wh[0], source_wh[1]))
    resized, canvas = placement["resized_wh"], placement["canvas_wh"]
    whole = _pasted(source, resized, placement["paste_xy"], canvas)
    whole = _pasted(whole, placement["view_wh"], (0, 0), placement["view_wh"])
    shown = [_cut(whole, box) for box in placement["crops_ltrb"]] or [whole]
    if pieces := placement.get("pieces"):
        pairs = zip(shown, pieces, strict=True)
        shown = [_pasted(view, one[:2], one[2:4], one[4:]) for view, one in pairs]
    if placement["thumbnail"] == "none":
        return shown
    thumbnail = _pasted(
        source if placement["thumbnail_of"] == "source" else whole,
        placement["thumbnail_resized_wh"],
        placement["thumbnail_xy"],
        placement["thumbnail_wh"],
    )
    return [thumbnail, *shown] if placement["thumbnail"] == "first" else [*shown, thumbnail]


def to_view(xy: npt.ArrayLike, view: View) -> Floats:
    """Source coordinates in the view, also beyond its edges: [..., 2] points, [..., 4] boxes."""
    numbers = np.asarray(xy, np.float64)
    return numbers * each_of(view.scale, numbers) + each_of(view.offset, numbers)


def to_source(xy: npt.ArrayLike, view: View) -> Floats:
    """Coordinates of the view in the source picture: the way back of `to_view`."""
    numbers = np.asarray(xy, np.float64)
    return (numbers - each_of(view.offset, numbers)) / each_of(view.scale, numbers)


def view_intrinsics(intrinsics: npt.ArrayLike, view: View) -> Floats:
    """fx, fy, cx, cy [..., 4] of the camera whose picture is this view."""
    numbers = np.asarray(intrinsics, np.float64)
    return numbers * each_of(view.scale, numbers) + np.asarray((0.0, 0.0, *view.offset), np.float64)


def _pasted(of: View, resized: Sequence[int], at: Sequence[int], on: Sequence[int]) -> View:
    """A view resized as a whole, and pasted at a place on a canvas."""
    x, y = resized[0] / of.size[0], resized[1] / of.size[1]
    offset = (of.offset[0] * x + at[0], of.offset[1] * y + at[1])
    return View((of.scale[0] * x, of.scale[1] * y), offset, (on[0], on[1]))


def _cut(of: View, box: Sequence[int]) -> View:
    left, top, right, bottom = box
    offset = (of.offset[0] - left, of.offset[1] - top)
    return View(of.scale, offset, (right - left, bottom - top))


def each_of(pair: npt.ArrayLike, numbers: Floats) -> Floats:
    """x, y once for points and twice for boxes."""
    return np.tile(np.asarray(pair, np.float64), numbers.shape[-1] // 2)
