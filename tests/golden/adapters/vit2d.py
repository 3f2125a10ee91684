"""vit2d.*: places of patches in the order in which vision towers take them; xyz.*: in the world."""

from collections.abc import Callable

import numpy as np

from patchpack.patch_coordinates import absolute, fractional, nearest
from patchpack.scene import voxel_ids
from patchpack.vit_positions import (
    interpolation_taps,
    merge_block_order,
    vit_cu_seqlens,
    window_index,
)
from tests.golden.adapter import Direct, Fields, Row
from workers.depth import patch_xyz
from workers.sources.sample import Camera

FLOAT32_WEIGHT = 4e-6
"""The reference finds places on a table of 48 in float32."""
FLOAT32_M = 1e-5
"""The reference lifts in float32; its places are within this of ours, a few metres away."""


def _fields(*names: str) -> frozenset[str]:
    return frozenset({"id", *names})


def _qwen(row: Row) -> Fields:
    grid = np.array([row["grid_thw"]])
    places, (order, ends) = merge_block_order(grid), window_index(grid)
    return {
        "h": places[:, 0].tolist(),
        "w": places[:, 1].tolist(),
        "cu_seqlens": vit_cu_seqlens(grid).tolist(),
        "qwen2_5_window_index": order.tolist(),
        "qwen2_5_cu_window_seqlens": ends.tolist(),
    }


def _interpolated(row: Row) -> Fields:
    taps, weights = interpolation_taps(np.array([row["grid_thw"]]), side=row["num_grid_per_side"])
    return {"indices": taps.tolist(), "weights": _close(weights, row["weights"], FLOAT32_WEIGHT)}


def _navit(row: Row) -> Fields:
    rows, columns = row["grid_hw"]
    places, shares = absolute(rows, columns), fractional(rows, columns)
    buckets = {int(side): nearest(rows, columns, int(side)).tolist() for side in row["nearest"]}
    for side, differing in row.get("nearest_vs_exact_floor", {}).items():
        for patch, reference, exact in differing:  # float32 puts the reference beside the edge
            assert buckets[int(side)][patch] == exact
            buckets[int(side)][patch] = reference
    return {
        "abs_h": places[:, 0].tolist(),
        "abs_w": places[:, 1].tolist(),
        "frac_h": shares[::columns, 0].tolist(),
        "frac_w": shares[:columns, 1].tolist(),
        "nearest": {str(side): ids for side, ids in buckets.items()},
    }


def _xyz(row: Row) -> Fields:
    views = zip(row["depth"], row["intrinsics"], row["poses"], strict=True)
    xyz = np.concatenate(
        [
            patch_xyz(
                np.array(depth, np.float32),
                Camera(tuple(lens), tuple(np.array(pose).ravel().tolist()), "opencv"),
                tuple(row["grid"]),
            )
            for depth, lens, pose in views
        ]
    )
    ids = voxel_ids(xyz, row["voxel_size"])
    return {
        "patch_xyz": _close(xyz, row["patch_xyz"], FLOAT32_M),
        "point_to_voxel": ids.tolist(),
        "n_voxels": int(ids.max()) + 1,
    }


def _close(ours: np.ndarray, reference: list[list[float]], within: float) -> list[list[float]]:
    """The reference's numbers where ours are within this of them, else ours."""
    wanted = np.array(reference)
    if ours.shape == wanted.shape and np.abs(ours - wanted).max(initial=0) <= within:
        return reference
    found: list[list[float]] = ours.tolist()
    return found


QWEN = ("h", "w", "cu_seqlens", "qwen2_5_window_index", "qwen2_5_cu_window_seqlens")
NAVIT = ("abs_h", "abs_w", "frac_h", "frac_w", "nearest")
XYZ = ("patch_xyz", "point_to_voxel", "n_voxels")


def _of(names: tuple[str, ...]) -> Callable[[Row], Fields]:
    return lambda row: {name: row[name] for name in names}


ADAPTERS = {
    "vit2d.qwen2_vl": Direct(_fields("grid_thw", *QWEN), _of(QWEN), _qwen),
    "vit2d.qwen3_vl_interp": Direct(
        _fields("grid_thw", "num_grid_per_side", "indices", "weights"),
        _of(("indices", "weights")),
        _interpolated,
    ),
    "vit2d.navit": Direct(_fields("grid_hw", "nearest_vs_exact_floor", *NAVIT), _of(NAVIT), _navit),
    "xyz.llava3d": Direct(
        _fields("views", "H", "W", "grid", "voxel_size", "intrinsics", "poses", "depth", *XYZ),
        _of(XYZ),
        _xyz,
    ),
}
