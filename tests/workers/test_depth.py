from __future__ import annotations

import gzip
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from patchpack.scene import voxel_ids
from patchpack.view_maps import view_intrinsics, view_maps
from schemas.reasons import Reason
from tests.workers.placements import placement
from workers import headers
from workers.depth import decode_depth, depth_views, patch_xyz
from workers.faults import Fault
from workers.sources.sample import Camera

GOLDEN = Path(__file__).parents[1] / "golden" / "data" / "positions" / "xyz.llava3d.jsonl.gz"
IDENTITY = (1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0)
FIELDS = {"id", "views", "H", "W", "grid", "voxel_size", "intrinsics", "poses", "depth"}
ANSWERS = {"patch_xyz", "point_to_voxel", "n_voxels"}
with gzip.open(GOLDEN, "rt") as lines:
    ROWS: list[dict[str, Any]] = [json.loads(line) for line in lines]


def png(pixels: npt.NDArray[Any]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_places_and_voxels_equal_llava_3d(row: dict[str, Any]) -> None:
    assert set(row) == FIELDS | ANSWERS
    depth = np.array(row["depth"], np.float32)
    assert depth.shape == (row["views"], row["H"], row["W"])
    cameras = [
        Camera(tuple(intrinsics), tuple(np.ravel(pose)), "opencv")
        for intrinsics, pose in zip(row["intrinsics"], row["poses"], strict=True)
    ]
    rows, columns = row["grid"]
    xyz = [patch_xyz(d, c, (rows, columns)) for d, c in zip(depth, cameras, strict=True)]
    scene = np.concatenate(xyz)
    assert scene.shape == (row["views"] * rows * columns, 3)
    np.testing.assert_allclose(scene, row["patch_xyz"], rtol=0, atol=1e-5)
    ids = voxel_ids(scene, row["voxel_size"])
    assert ids.tolist() == row["point_to_voxel"]
    assert ids.max() + 1 == row["n_voxels"]


def test_millimetres_become_metres_and_nothing_stays_nothing() -> None:
    steps = np.array([[0, 1], [2500, 65535]], np.uint16)
    wanted = np.array([[0, 0.001], [2.5, 65.535]], np.float32)
    assert (decode_depth(png(steps)) == wanted).all()
    assert decode_depth(png(steps), 4000)[1, 0] == np.float32(0.625)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY_FILE),
        (b"depth", Reason.NOT_MEDIA),
        (b"\xff\xd8\xff\xd9", Reason.UNSUPPORTED_MODE),
        (png(np.zeros((4, 4), np.uint8)), Reason.UNSUPPORTED_MODE),
        (png(np.zeros((4, 4, 3), np.uint8)), Reason.UNSUPPORTED_MODE),
        (png(np.zeros((4, 4), np.uint16))[:-20], Reason.TRUNCATED),
        (png(np.zeros((4, 4), np.uint16)).replace(b"IDAT", b"XDAT"), Reason.UNDECODABLE),
    ],
    ids=["empty", "text", "jpeg", "8-bit", "colour", "cut", "no pixels"],
)
def test_damage_is_a_fault(data: bytes, reason: Reason) -> None:
    with pytest.raises(Fault) as caught:
        decode_depth(data)
    assert caught.value.reason is reason


def test_the_pixel_limit_is_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "MAX_PIXELS", 15)
    with pytest.raises(Fault, match="too_many_pixels: 4×4"):
        decode_depth(png(np.zeros((4, 4), np.uint16)))


def test_the_depth_takes_the_way_of_the_picture() -> None:
    depth = np.array([[1, 2], [3, 4]], np.float32)
    padded = placement((2, 2), canvas=(4, 2), xy=(1, 0), view=(8, 4), crops=[[0, 0, 4, 4]])
    (view,) = depth_views(depth, padded)
    assert view.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 3, 3], [0, 0, 3, 3]]


def test_a_canvas_smaller_than_the_picture_shows_its_middle() -> None:
    depth = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
    (view,) = depth_views(depth, placement((4, 3), canvas=(2, 3), xy=(-1, 0)))
    assert view.tolist() == [[2, 3], [6, 7], [10, 11]]
    (outside,) = depth_views(depth, placement((4, 3), canvas=(2, 2), xy=(5, 5)))
    assert not outside.any()


@pytest.mark.parametrize(("of", "last"), [("source", 1.0), ("canvas", 0.0), ("model", 0.0)])
def test_the_thumbnail_is_of_the_source_or_of_the_padded_canvas(of: str, last: float) -> None:
    row = placement((2, 2), canvas=(4, 2))
    row |= {"thumbnail": "first", "thumbnail_of": of, "thumbnail_wh": [2, 1]}
    row |= {"thumbnail_resized_wh": [2, 1], "thumbnail_xy": [0, 0]}
    thumbnail, canvas = depth_views(np.ones((2, 2), np.float32), row)
    assert canvas.tolist() == [[1, 1, 0, 0]] * 2
    assert thumbnail.tolist() == [[1, last]]
    assert not depth_views(np.ones((2, 2), np.float32), placement((0, 0)))


def test_patches_without_depth_have_no_place_and_no_voxel() -> None:
    depth = np.array([[0, np.nan, np.inf], [-1, 1, 2]], np.float32)
    xyz = patch_xyz(depth, Camera((1.0, 1.0, 0.0, 0.0), IDENTITY, "opencv"), (2, 3))
    assert np.isnan(xyz).all(axis=1).tolist() == [True, True, True, True, False, False]
    assert xyz[4:].tolist() == [[1, 1, 1], [4, 2, 2]]
    assert voxel_ids(xyz).tolist() == [-1, -1, -1, -1, 0, 1]
    assert voxel_ids(xyz[:4]).tolist() == [-1] * 4
    assert voxel_ids(xyz[:0]).tolist() == []


def test_opengl_cameras_look_along_minus_z() -> None:
    depth = np.full((2, 2), 3, np.float32)
    camera = Camera((1.0, 1.0, 1.0, 1.0), IDENTITY, "opengl")
    xyz = patch_xyz(depth, camera, (2, 2))
    flipped = patch_xyz(depth, replace(camera, convention="opencv"), (2, 2))
    assert xyz.tolist() == (flipped * np.array([1, -1, -1])).tolist()
    assert xyz[0].tolist() == [-3, 3, -3]


def test_halves_round_to_the_even_cube() -> None:
    xyz = np.array([[0.5, 0, 0], [1.5, 0, 0], [2.5, 0, 0], [-0.25, 0, 0]], np.float32)
    assert voxel_ids(xyz, 1.0).tolist() == [0, 1, 1, 0]


def test_a_wall_stays_a_wall_in_every_crop() -> None:
    """A plane z = 2 seen at 100 x 60 and in crops of the enlarged view: the same places."""
    intrinsics = (80.0, 80.0, 50.0, 30.0)
    row = placement((200, 120), crops=[[0, 0, 100, 120], [100, 0, 200, 120]])
    left, right = view_maps((100, 60), row)
    depth = np.full((60, 100), 2, np.float32)
    whole = patch_xyz(depth, Camera(intrinsics, IDENTITY, "opencv"), (6, 10)).reshape(6, 10, 3)
    for view, part, shown in zip((left, right), np.split(whole, 2, axis=1), (0, 1), strict=True):
        camera = Camera(tuple(view_intrinsics(intrinsics, view)), IDENTITY, "opencv")
        xyz = patch_xyz(depth_views(depth, row)[shown], camera, (6, 5))
        np.testing.assert_allclose(xyz, part.reshape(-1, 3), atol=1e-6)
