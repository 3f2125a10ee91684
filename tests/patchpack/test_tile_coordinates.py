"""Tiles and their patches on the source picture; rays of the patches of posed views."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from patchpack.layout import FormatError, Pack
from patchpack.scene import patch_rays
from patchpack.tile_coordinates import patch_places, tile_places
from tests.handmade import again, media_pack

WIDE: dict[str, Any] = {
    "canvas_wh": np.array([[56, 28], [56, 56]], np.int32),
    "view_wh": np.array([[56, 28], [56, 56]], np.int32),
    "thumbnail_of": np.array([0, 0], np.uint8),
    "thumbnail_resized_wh": np.array([[28, 28], [0, 0]], np.int32),
    "thumbnail_xy": np.zeros((2, 2), np.int32),
    "grid_thw": np.array([[1, 2, 2]] * 3 + [[2, 4, 4]], np.int32),
    "grid_item": np.array([0, 0, 0, 1], np.int32),
}


def tiled(**changed: np.ndarray) -> Pack:
    """Two tiles of 28 x 28 side by side, then a thumbnail; the source has 1300 x 800 pixels."""
    pack = media_pack(0)
    header = replace(
        pack.header,
        item_source_wh=[[1300, 800], [64, 48]],
        item_resized_wh=[[56, 28], [56, 56]],
    )
    return Pack(header, replace(pack.arrays, **{**WIDE, **changed}), pack.payloads)


def test_tiles_are_numbered_as_they_lie() -> None:
    assert tile_places(tiled(), 0).tolist() == [[0, 0], [0, 1], [-1, -1]]
    first = tiled(thumbnail=np.array([1, 0], np.uint8))
    assert tile_places(first, 0).tolist() == [[-1, -1], [0, 0], [0, 1]]
    assert tile_places(tiled(), 1).tolist() == [[0, 0]]


def test_patches_lie_on_the_source_picture() -> None:
    found = patch_places(tiled(), 0).reshape(3, 2, 2, 2)
    assert np.allclose(found[0], [[[0.25, 0.125], [0.25, 0.375]], [[0.75, 0.125], [0.75, 0.375]]])
    assert np.allclose(found[1], found[0] + [0, 0.5])
    assert np.allclose(found[2], [[[0.25, 0.25], [0.25, 0.75]], [[0.75, 0.25], [0.75, 0.75]]])
    frames = patch_places(tiled(), 1).reshape(2, 4, 4, 2)
    assert np.allclose(frames[0], frames[1])
    assert np.allclose(frames[0, :, 0, 0], [0.125, 0.375, 0.625, 0.875])


def test_padding_lies_outside() -> None:
    pasted = tiled(
        canvas_wh=np.array([[56, 56], [56, 56]], np.int32),
        view_wh=np.array([[56, 56], [56, 56]], np.int32),
        paste_xy=np.array([[0, 14], [0, 0]], np.int32),
        crops_ltrb=np.array([[0, 0, 56, 28], [0, 28, 56, 56]], np.int32),
    )
    rows = patch_places(pasted, 0).reshape(3, 2, 2, 2)[:2, :, 0, 0].ravel()
    assert np.allclose(rows, [-0.25, 0.25, 0.75, 1.25])
    assert tile_places(pasted, 0).tolist() == [[0, 0], [1, 0], [-1, -1]]


def test_patches_of_a_piece_lie_where_its_crop_was() -> None:
    """The first crop is turned into a letterbox, the second becomes twice as large."""
    pieces = np.array([[28, 14, 0, 7, 28, 28], [56, 56, 0, 0, 56, 56]], np.int32)
    owner = np.zeros(2, np.int32)
    found = patch_places(again(tiled(pieces=pieces, pieces_item=owner)), 0).reshape(3, 2, 2, 2)
    plain = patch_places(tiled(), 0).reshape(3, 2, 2, 2)
    # its rows are at 7 and 21 of 28 pixels, the first and the last of the crop's 14
    assert np.allclose(found[0], [[[0, 0.125], [0, 0.375]], [[1, 0.125], [1, 0.375]]])
    assert np.allclose(found[1:], plain[1:])


def test_views_that_are_not_those_of_the_grids() -> None:
    with pytest.raises(FormatError, match="item 0: 3 views do not give 2 grids"):
        patch_places(media_pack(0), 0)


def test_grids_that_cannot_be() -> None:
    grids = np.array([[2**20, 2**10, 2**10]] * 3 + [[2, 4, 4]], np.int32)
    for made in (lambda pack: patch_places(pack, 0), lambda pack: patch_rays(pack, 0, 14)):
        with pytest.raises(FormatError, match=r"item 0: grids of \[\[1048576, 1024, 1024\]"):
            made(tiled(grid_thw=grids))
    with pytest.raises(FormatError, match="item 0: 0 views do not give 3 grids"):
        patch_places(tiled(canvas_wh=np.zeros((2, 2), np.int32)), 0)


def test_rays_hit_what_the_camera_sees() -> None:
    rng = np.random.default_rng(3)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn * np.linalg.det(turn), [1.0, 2.0, 3.0]
    lens = np.array([[40.0, 42.0, 13.0, 15.0]] * 3)
    posed = tiled(
        pose=pose[None],
        view_intrinsics=lens,
        view_item=np.zeros(3, np.int32),
        camera_convention=np.array([0], np.uint8),
    )
    rays = patch_rays(posed, 0, 14)
    assert rays is not None
    assert rays.direction.shape == (12, 3)
    assert np.allclose(np.linalg.norm(rays.direction, axis=1), 1)
    seen = (rays.origin + 5.0 * rays.direction - pose[:3, 3]) @ pose[:3, :3]
    x, y = 40 * seen[:, 0] / seen[:, 2] + 13, 42 * seen[:, 1] / seen[:, 2] + 15
    assert np.allclose(np.stack([x, y], axis=1)[:4], [[7, 7], [21, 7], [7, 21], [21, 21]])
    assert np.allclose(rays.plucker[:, 3:], np.cross(rays.origin, rays.direction))
    opengl = patch_rays(
        Pack(
            posed.header,
            replace(
                posed.arrays,
                camera_convention=np.array([1], np.uint8),
                pose=(pose @ np.diag([1.0, -1.0, -1.0, 1.0]))[None],
            ),
            posed.payloads,
        ),
        0,
        14,
    )
    assert opengl is not None
    assert np.allclose(opengl.direction, rays.direction)
    assert patch_rays(posed, 1, 14) is None
