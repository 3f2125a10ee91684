"""The cameras of a corpus manifest as posed views: fx, fy, cx, cy, and camera to world.

| manifest         | given                                    | axes of the camera |
|------------------|------------------------------------------|--------------------|
| NeRF transforms  | camera to world; one set of intrinsics   | OpenGL             |
| nuScenes         | camera to car, car to world; a K each    | OpenCV             |
| OpenSfM          | world to camera; focal / longer side     | OpenCV             |

Lens distortion is left out: a pinhole camera has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


class Posed(NamedTuple):
    """The cameras of a sample's files, in their order."""

    convention: str
    intrinsics: list[list[float]]
    poses: list[Matrix]


def read_cameras(cameras: dict[str, Any], files: Sequence[dict[str, Any]]) -> Posed:
    """The cameras in any of the three notations. Raises ValueError for another."""
    if "camera_to_world" in cameras:
        return _nerf(cameras)
    if "cam2ego" in cameras:
        return _nuscenes(cameras)
    if "shots" in cameras:
        return _opensfm(cameras, [PurePosixPath(file["origin"]["path"]).name for file in files])
    raise ValueError(f"cameras: unknown notation {cameras.get('convention')!r}")


def _nerf(cameras: dict[str, Any]) -> Posed:
    given = cameras["intrinsics"]
    intrinsics = [given[name] for name in ("fl_x", "fl_y", "cx", "cy")]
    poses = [np.array(pose) for pose in cameras["camera_to_world"]]
    return Posed("opengl", [intrinsics] * len(poses), poses)


def _nuscenes(cameras: dict[str, Any]) -> Posed:
    car = np.array(cameras["ego2global"])
    intrinsics = [[k[0][0], k[1][1], k[0][2], k[1][2]] for k in cameras["intrinsics_per_camera"]]
    return Posed("opencv", intrinsics, [car @ np.array(camera) for camera in cameras["cam2ego"]])


def _opensfm(cameras: dict[str, Any], names: Sequence[str]) -> Posed:
    intrinsics, poses = [], []
    for name in names:
        shot = cameras["shots"][name]
        lens = cameras["cameras"][shot["camera"]]
        focal = lens["focal"] * max(lens["width"], lens["height"])
        intrinsics.append([focal, focal, lens["width"] / 2, lens["height"] / 2])
        rotation = cv2.Rodrigues(np.array(shot["rotation"], np.float64))[0]
        pose = np.eye(4)
        pose[:3, :3] = rotation.T
        pose[:3, 3] = -rotation.T @ np.array(shot["translation"])
        poses.append(pose)
    return Posed("opencv", intrinsics, poses)
