"""What a tower sees of an item: its crops, or its frames, each with its grid of patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from patchpack.drawing import cut
from patchpack.item_geometry import ItemGeometry
from schemas.errors import BuildError
from workers.encoders.patching import View
from workers.encoders.shape import TowerShape
from workers.gather import Geometry, Item
from workers.item_pictures import shown
from workers.media_files import MediaFiles
from workers.pixels import Resampler

Pixels = npt.NDArray[np.uint8]


def views_of(item: Item, media: MediaFiles, resampler: Resampler, shape: TowerShape) -> list[View]:
    """In the order of `grid_thw`; a grid of t frames has t views, one after another.

    Raises Fault for what does not decode, BuildError where geometry and tower do not fit.
    """
    geometry = cast(ItemGeometry, item.geometry._asdict())
    pictures = [
        np.array(one)  # its own, writable: what torch asks for
        for drawn in shown(item, media, resampler)
        for one in cut(drawn, geometry)
    ]
    grids = [(rows, columns) for t, rows, columns in item.geometry.grid_thw for _ in range(t)]
    if item.source.kind == "video" and shape.temporal_patch_size > 1:
        clips = _clips(pictures, shape.temporal_patch_size)
    else:
        clips = [one[None] for one in pictures]
    if len(clips) != len(grids):
        what = f"{len(clips)} pictures for {len(grids)} grids of patches"
        raise BuildError(f"{item.source.path}: {what}: {item.geometry.policy}")
    if item.geometry.kept_patches:
        return [_of_which_some_stay(clips, grids, item.geometry.kept_patches)]
    return [View(clip, *grid) for clip, grid in zip(clips, grids, strict=True)]


def _clips(frames: Sequence[Pixels], length: int) -> list[Pixels]:
    """Frames in groups; the last frame fills the last group, as transformers does it."""
    whole = [*frames, *[frames[-1]] * (-len(frames) % length)]
    return [np.stack(whole[first : first + length]) for first in range(0, len(whole), length)]


def _of_which_some_stay(
    clips: Sequence[Pixels], grids: Sequence[tuple[int, int]], kept: Sequence[int]
) -> View:
    """Frames are one tall picture to NaViT."""
    rows = sum(rows for rows, _ in grids)
    return View(np.concatenate(clips, axis=1), rows, grids[0][1], np.array(kept, np.int64))


def misfit(geometry: Geometry, shape: TowerShape) -> str | None:
    """Why the tower cannot take what a policy planned; None where it can."""
    if geometry.thumbnail != "none" and geometry.thumbnail_of == "model":
        return "does not make the thumbnail that this policy leaves to its model"
    sizes = [(right - left, bottom - top) for left, top, right, bottom in geometry.crops_ltrb] or [
        (geometry.view_wh[0], geometry.view_wh[1])
    ]
    sizes = [(piece[4], piece[5]) for piece in geometry.pieces] or sizes
    if geometry.thumbnail != "none":
        small = (geometry.thumbnail_wh[0], geometry.thumbnail_wh[1])
        sizes = [small, *sizes] if geometry.thumbnail == "first" else [*sizes, small]
    grids = [(rows, columns) for _, rows, columns in geometry.grid_thw]
    whole = len(grids) // len(sizes)  # the views of each frame of a video
    if len(sizes) * whole != len(grids):
        return f"is given {len(sizes)} views for {len(grids)} grids of patches"
    if geometry.kept_patches and shape.family != "siglip_native":
        return 'takes all patches: only `resolution = "native"` computes some'
    found = (shape.misfit(grid, size) for grid, size in zip(grids, sizes * whole, strict=True))
    return next((problem for problem in found if problem), None)
