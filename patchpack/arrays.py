"""The arrays of a pack beside its payloads: names, dtypes, shapes, and checks on their values."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from patchpack.container import DTYPES, Array

Int32 = npt.NDArray[np.int32]
UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

TOKEN_KINDS = ("text", "vision", "newline", "other")
THUMBNAILS = ("none", "first", "last")
PAYLOADS = ("source", "pixels", "features")
ALPHAS = ("none", "dropped", "white")
RESAMPLES = ("bicubic", "bilinear", "lanczos")
THUMBNAIL_SOURCES = ("source", "canvas", "model")
CAMERA_CONVENTIONS = ("opencv", "opengl")
_NEXT = 4  # after a row: it is a run of its own


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Arrays:
    """L tokens, m items; the other lengths are free. `*_item` says to which item a row belongs.

    docs/format.md has the meanings; uint8 codes are indexes into the tuples of this module.
    """

    tokens: Int32  # [L]
    token_kind: UInt8  # [L] TOKEN_KINDS
    loss: UInt8  # [L] 0 or 1
    payload: UInt8  # [m] PAYLOADS
    orientation: UInt8  # [m] EXIF code 1..8 found at the source
    alpha: UInt8  # [m] ALPHAS
    canvas_wh: Int32  # [m, 2]
    paste_xy: Int32  # [m, 2]
    pad_rgb: UInt8  # [m, 3]
    view_wh: Int32  # [m, 2]
    resample: UInt8  # [m] RESAMPLES
    transposed: UInt8  # [m] 0 or 1
    thumbnail: UInt8  # [m] THUMBNAILS
    thumbnail_of: UInt8  # [m] THUMBNAIL_SOURCES
    thumbnail_wh: Int32  # [m, 2]
    thumbnail_resized_wh: Int32  # [m, 2]
    thumbnail_xy: Int32  # [m, 2]
    runs: Int32  # [m]
    via_item: Int32  # [v]
    via_wh: Int32  # [v, 2]
    part_item: Int32  # [p]
    parts: Int32  # [p, 3]
    kept_item: Int32  # [q]
    kept_patches: Int32  # [q]
    grid_item: Int32  # [g]
    grid_thw: Int32  # [g, 3]
    crops_item: Int32  # [k]
    crops_ltrb: Int32  # [k, 4]
    frame_item: Int32  # [f]
    frame_indices: Int32  # [f]
    camera_item: Int32  # [c]
    intrinsics: Float64  # [c, 4] fx, fy, cx, cy
    pose: Float64  # [c, 4, 4] camera to world
    camera_convention: UInt8  # [c] CAMERA_CONVENTIONS
    view_item: Int32  # [w]
    view_intrinsics: Float64  # [w, 4]
    xyz_item: Int32  # [x]
    patch_xyz: Float32  # [x, 3]
    box_item: Int32  # [b]
    boxes_xyxy: Float32  # [b, 4]
    pieces_item: Int32 = field(default_factory=lambda: np.zeros(0, np.int32))  # [e]
    pieces: Int32 = field(default_factory=lambda: np.zeros((0, 6), np.int32))  # [e, 6]


@dataclass(frozen=True, slots=True)
class Spec:
    """Container dtype; axis that gives the first length; lengths after it; largest code."""

    dtype: str
    axis: str
    tail: tuple[int, ...] = ()
    most: int | None = None


ARRAYS: dict[str, Spec] = {
    "tokens": Spec("I32", "token"),
    "token_kind": Spec("U8", "token", most=3),
    "loss": Spec("U8", "token", most=1),
    "payload": Spec("U8", "item", most=2),
    "orientation": Spec("U8", "item", most=8),
    "alpha": Spec("U8", "item", most=2),
    "canvas_wh": Spec("I32", "item", (2,)),
    "paste_xy": Spec("I32", "item", (2,)),
    "pad_rgb": Spec("U8", "item", (3,)),
    "view_wh": Spec("I32", "item", (2,)),
    "resample": Spec("U8", "item", most=2),
    "transposed": Spec("U8", "item", most=1),
    "thumbnail": Spec("U8", "item", most=2),
    "thumbnail_of": Spec("U8", "item", most=2),
    "thumbnail_wh": Spec("I32", "item", (2,)),
    "thumbnail_resized_wh": Spec("I32", "item", (2,)),
    "thumbnail_xy": Spec("I32", "item", (2,)),
    "runs": Spec("I32", "item"),
    "via_item": Spec("I32", "via_item"),
    "via_wh": Spec("I32", "via_item", (2,)),
    "part_item": Spec("I32", "part_item"),
    "parts": Spec("I32", "part_item", (3,)),
    "kept_item": Spec("I32", "kept_item"),
    "kept_patches": Spec("I32", "kept_item"),
    "grid_item": Spec("I32", "grid_item"),
    "grid_thw": Spec("I32", "grid_item", (3,)),
    "crops_item": Spec("I32", "crops_item"),
    "crops_ltrb": Spec("I32", "crops_item", (4,)),
    "frame_item": Spec("I32", "frame_item"),
    "frame_indices": Spec("I32", "frame_item"),
    "camera_item": Spec("I32", "camera_item"),
    "intrinsics": Spec("F64", "camera_item", (4,)),
    "pose": Spec("F64", "camera_item", (4, 4)),
    "camera_convention": Spec("U8", "camera_item", most=1),
    "view_item": Spec("I32", "view_item"),
    "view_intrinsics": Spec("F64", "view_item", (4,)),
    "xyz_item": Spec("I32", "xyz_item"),
    "patch_xyz": Spec("F32", "xyz_item", (3,)),
    "box_item": Spec("I32", "box_item"),
    "boxes_xyxy": Spec("F32", "box_item", (4,)),
    "pieces_item": Spec("I32", "pieces_item"),
    "pieces": Spec("I32", "pieces_item", (6,)),
}
"""Every array of every pack, also when empty, but for `OPTIONAL`; an axis `*_item` is as long as
that column.
"""

OPTIONAL = frozenset({"pieces_item", "pieces"})
"""Those that a pack has only where they hold something."""


def empty_arrays() -> Arrays:
    """Arrays of length 0: those of a filler, and a base for `dataclasses.replace`."""
    return Arrays(
        **{name: np.zeros((0, *spec.tail), DTYPES[spec.dtype]) for name, spec in ARRAYS.items()}
    )


def array_problem(arrays: Arrays, tokens: int, items: int) -> tuple[str, str] | None:
    """The first field that is wrong for this many tokens and items, and what is wrong with it."""
    lengths = {"token": tokens, "item": items}
    for name, spec in ARRAYS.items():
        array: Array = getattr(arrays, name)
        if spec.axis not in lengths:
            lengths[spec.axis] = len(getattr(arrays, spec.axis))
        shape = (lengths[spec.axis], *spec.tail)
        if array.dtype != DTYPES[spec.dtype] or array.shape != shape:
            return name, f"is {array.dtype} {array.shape}, expected {DTYPES[spec.dtype]} {shape}"
        if spec.most is not None and array.size and array.max() > spec.most:
            return name, f"holds {array.max()}, at most {spec.most}"
        if name == spec.axis and not _ascending_below(array, items):
            return name, f"expected ascending item numbers below {items}"
    return _value_problem(arrays)


def _ascending_below(column: Int32, items: int) -> bool:
    if not len(column):
        return True
    return bool(column[0] >= 0 and column[-1] < items and (column[1:] >= column[:-1]).all())


def _value_problem(arrays: Arrays) -> tuple[str, str] | None:
    if (arrays.camera_item[1:] == arrays.camera_item[:-1]).any():  # it is ascending
        return "camera_item", "two cameras for one item"
    if not (arrays.orientation >= 1).all():
        return "orientation", "expected an EXIF code from 1 to 8"
    if not (arrays.grid_thw >= 1).all():
        return "grid_thw", "expected at least 1 everywhere"
    for name in ("frame_indices", "kept_patches", "parts"):
        if not (getattr(arrays, name) >= 0).all():
            return name, "below 0"
    if (arrays.parts[:, 2] > _NEXT).any():
        return "parts", f"holds {arrays.parts[:, 2].max()} after a row, at most {_NEXT}"
    if not (arrays.runs >= 1).all():
        return "runs", "expected at least 1 everywhere"
    crops = arrays.crops_ltrb
    if not (crops[:, :2] < crops[:, 2:]).all():
        return "crops_ltrb", "an empty crop"
    return _piece_problem(arrays) if arrays.pieces.size else None


def _piece_problem(arrays: Arrays) -> tuple[str, str] | None:
    """Views and their maps take the pieces of an item crop by crop, and divide by their sizes."""
    if (arrays.pieces < 0).any():
        return "pieces", "below 0"
    if not arrays.pieces[:, [0, 1, 4, 5]].all():
        return "pieces", "a piece without pixels"
    owners, cut = arrays.pieces_item, arrays.crops_item  # both ascending
    if not np.array_equal(owners, cut[np.isin(cut, owners)]):
        return "pieces_item", "expected one for each crop of its items"
    return None
