"""Posed views: which way each patch looks, and which patches of a scene share a place.

A pack holds the camera of every view and, where depth was given, the place of every patch
(`patch_xyz`). Here are the ray of each patch, as Plücker or ray embeddings take it, and LLaVA-3D's
voxels. Sources: ZCMax/LLaVA-3D llava/model/multimodal_encoder/unproject.py (`voxelize`) and
video_encoder.py (the 0.2 m).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from patchpack.arrays import CAMERA_CONVENTIONS
from patchpack.item_geometry import grids_of
from patchpack.layout import Pack

VOXEL_M = 0.2


class Rays(NamedTuple):
    """Of the n patches of an item, in the order of `grid_thw`, row by row, in the world.

    origin      float64 [n, 3]  the camera, in metres
    direction   float64 [n, 3]  of length 1, through the middle of the patch
    """

    origin: npt.NDArray[np.float64]
    direction: npt.NDArray[np.float64]

    @property
    def plucker(self) -> npt.NDArray[np.float64]:
        """[n, 6] direction and moment, origin x direction."""
        return np.concatenate([self.direction, np.cross(self.origin, self.direction)], axis=1)


def patch_rays(pack: Pack, item: int, patch_size: int) -> Rays | None:
    """The rays of an item's patches of `patch_size` pixels; None where it has no whole camera.

    Raises FormatError for grids that cannot be.
    """
    arrays = pack.arrays
    which = np.flatnonzero(arrays.camera_item == item)
    lenses = arrays.view_intrinsics[arrays.view_item == item]
    grids = grids_of(pack, item)
    if not len(which) or len(lenses) != len(grids) or np.isnan(arrays.pose[which[0]]).any():
        return None
    pose = arrays.pose[which[0]]
    opengl = CAMERA_CONVENTIONS[arrays.camera_convention[which[0]]] == "opengl"
    up = -1.0 if opengl else 1.0  # its y goes up and its z backward
    seen = []
    for (fx, fy, cx, cy), (frames, rows, columns) in zip(lenses, grids, strict=True):
        x = ((np.arange(columns) + 0.5) * patch_size - cx) / fx
        y = ((np.arange(rows) + 0.5) * patch_size - cy) / fy
        across = np.broadcast_to(x, (frames, rows, columns)).ravel()
        down = np.broadcast_to(y[:, None], (frames, rows, columns)).ravel()
        seen.append(np.stack([across, up * down, np.full(len(across), up)], axis=1))
    towards = np.concatenate(seen) @ pose[:3, :3].T
    direction = towards / np.linalg.norm(towards, axis=1, keepdims=True)
    return Rays(np.tile(pose[:3, 3], (len(direction), 1)), direction)


def voxel_ids(xyz: npt.NDArray[np.float32], voxel_m: float = VOXEL_M) -> npt.NDArray[np.int64]:
    """[n] number of the occupied cube around each of the n places of a scene; -1 without a place.

    Cubes are centred on multiples of their side and numbered from 0 in the order of (x, y, z).
    Patches of one cube share a token in LLaVA-3D, which takes the mean of their features.
    """
    known = np.isfinite(xyz).all(axis=1)
    cubes = np.rint(xyz[known] / np.float32(voxel_m)) + np.float32(0)  # no -0.0
    ids = np.full(len(xyz), -1, np.int64)
    ids[known] = np.unique(cubes, axis=0, return_inverse=True)[1].reshape(-1)
    return ids
