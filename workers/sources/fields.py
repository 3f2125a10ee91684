"""Checks of single values of an untrusted JSON record: the value, or a Fault naming its field.

Every function takes the value and the place it stands at, e.g. `turns[2].parts[0].path`.
"""

from __future__ import annotations

import re
from math import isfinite, nan
from typing import Any

from schemas.reasons import Reason
from workers.faults import Fault
from workers.sources.sample import Box, Camera

MAX_PATH_BYTES = 4096
MAX_ID_BYTES = 512
RIGID_TOLERANCE = 1e-2
"""How far a rotation may be from orthonormal: float32 poses of structure-from-motion tools pass."""
MAX_CAMERA_NUMBER = 1e9
MIN_FOCAL_PIXELS = 1e-3
"""Places stay finite with these; the Earth's radius is 6.4e6 m."""
STEPS_A_METRE = (1e-3, 1e6)
"""A step of a depth map is a kilometre at most, and a micrometre at least."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE_OR_URL = re.compile(r"[A-Za-z]:|[A-Za-z][A-Za-z0-9+.-]*://")


def bad(field: str, what: str, reason: Reason = Reason.BAD_RECORD) -> Fault:
    """The fault of one field."""
    return Fault(reason, f"{field}: {what}")


def a_list(value: Any, field: str) -> list[Any]:
    """A list of anything."""
    if not isinstance(value, list):
        raise bad(field, f"expected a list, found {named(value)}")
    return value


def an_object(value: Any, field: str, keys: frozenset[str]) -> dict[str, Any]:
    """The object, with no key beside these: a misspelt key would be lost without a word."""
    if not isinstance(value, dict):
        raise bad(field, f"expected an object, found {named(value)}")
    if not value.keys() <= keys:
        unknown = ", ".join(sorted(value.keys() - keys))
        raise bad(field, f"unknown key {shown(unknown)} (allowed: {', '.join(sorted(keys))})")
    return value


def a_text(value: Any, field: str) -> str:
    """A text, empty or not."""
    if not isinstance(value, str):
        raise bad(field, f"expected a text, found {named(value)}")
    return value


def a_number(value: Any, field: str, reason: Reason = Reason.BAD_RECORD) -> float:
    """A finite number as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad(field, f"expected a number, found {named(value)}", reason)
    try:
        number = float(value)
    except OverflowError:
        number = nan
    if not isfinite(number):
        raise bad(field, f"expected a finite number, found {shown(value)}", reason)
    return number


def numbers(value: Any, count: int, field: str, reason: Reason) -> tuple[float, ...]:
    """A list of exactly so many finite numbers."""
    if not isinstance(value, list) or len(value) != count:
        found = f"{len(value)}" if isinstance(value, list) else named(value)
        raise bad(field, f"expected {count} numbers, found {found}", reason)
    return tuple(a_number(v, f"{field}[{i}]", reason) for i, v in enumerate(value))


def an_id(value: Any) -> str:
    """A sample's id: a short printable text, or a whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise bad("id", f"expected a text or a whole number, found {named(value)}")
    if not value or len(value.encode()) > MAX_ID_BYTES or _CONTROL.search(value):
        raise bad("id", f"expected 1 to {MAX_ID_BYTES} bytes without control characters")
    return value


def place_id(path: str, number: int) -> str:
    """The id of a sample that states none: its file, with the folders but not the extension, and
    its number in it. So files of one name in two folders have different ids.
    """
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}-{number}"


def a_path(value: Any, field: str) -> str:
    """A path relative to the source's root, normalised; it cannot lead out of the root.

    Links are followed when the file is opened: who lays out the root may link to other disks.
    """
    text = a_text(value, field)
    if not text:
        raise bad(field, "is empty")
    if text[0] == "/" or "\\" in text or _CONTROL.search(text) or _DRIVE_OR_URL.match(text):
        what = f"must be relative, with forward slashes, found {shown(text)}"
        raise bad(field, what, Reason.PATH_OUTSIDE_ROOT)
    steps = [step for step in text.split("/") if step not in ("", ".")]
    if ".." in steps:
        raise bad(field, f"leaves the root: {shown(text)}", Reason.PATH_OUTSIDE_ROOT)
    if not steps or len(text.encode()) > MAX_PATH_BYTES:
        raise bad(field, f"names no file: {shown(text)}")
    return "/".join(steps)


def boxes(value: Any, field: str) -> tuple[Box, ...]:
    """Labelled boxes, corners in order; the survey checks that they lie in the picture."""
    return tuple(_box(box, f"{field}[{i}]") for i, box in enumerate(a_list(value, field)))


def _box(value: Any, field: str) -> Box:
    box = an_object(value, field, frozenset({"xyxy", "label"}))
    xyxy = corners(box.get("xyxy"), f"{field}.xyxy")
    return Box(xyxy, a_text(box.get("label", ""), f"{field}.label"))


def corners(value: Any, field: str) -> tuple[float, float, float, float]:
    """Left, top, right, bottom, in this order and none past its opposite."""
    x1, y1, x2, y2 = numbers(value, 4, field, Reason.BAD_BOX)
    if x1 > x2 or y1 > y2:
        what = f"left, top, right, bottom expected, found {[x1, y1, x2, y2]}"
        raise bad(field, what, Reason.BAD_BOX)
    return x1, y1, x2, y2


def camera(intrinsics: Any, pose: Any, convention: Any, field: str) -> Camera:
    """A pinhole camera: positive focal lengths and a rigid camera-to-world pose."""
    if convention not in ("opencv", "opengl"):
        what = f"expected opencv or opengl, found {shown(convention)}"
        raise bad(f"{field}.convention", what, Reason.BAD_CAMERA)
    fx, fy, cx, cy = numbers(intrinsics, 4, f"{field}.intrinsics", Reason.BAD_CAMERA)
    if min(fx, fy) < MIN_FOCAL_PIXELS:
        what = f"focal lengths must be {MIN_FOCAL_PIXELS} or more, found {fx} and {fy}"
        raise bad(f"{field}.intrinsics", what, Reason.BAD_CAMERA)
    where = f"{field}.pose"
    if not isinstance(pose, list) or len(pose) != 4:
        raise bad(where, "expected 4 rows of 4 numbers", Reason.BAD_CAMERA)
    rows = [numbers(row, 4, f"{where}[{i}]", Reason.BAD_CAMERA) for i, row in enumerate(pose)]
    if not _is_rigid(rows):
        what = "not a rotation and a translation (camera to world, last row 0 0 0 1)"
        raise bad(where, what, Reason.BAD_CAMERA)
    flat = tuple(v for row in rows for v in row)
    for place, values in ((f"{field}.intrinsics", (fx, fy, cx, cy)), (where, flat)):
        if (most := max(map(abs, values))) > MAX_CAMERA_NUMBER:
            raise bad(place, f"{most} is over {MAX_CAMERA_NUMBER}", Reason.BAD_CAMERA)
    return Camera((fx, fy, cx, cy), flat, convention)


def steps_a_metre(value: Any, field: str) -> float:
    """The scale of a depth map."""
    least, most = STEPS_A_METRE
    steps = a_number(value, field, Reason.BAD_CAMERA)
    if not least <= steps <= most:
        raise bad(field, f"expected {least} to {most}, found {steps}", Reason.BAD_CAMERA)
    return steps


def _is_rigid(rows: list[tuple[float, ...]]) -> bool:
    """Two rows of unit length at right angles, the third their cross product, the last 0 0 0 1."""
    (a, b, c), (d, e, f), third = (row[:3] for row in rows[:3])
    found = (a * a + b * b + c * c, d * d + e * e + f * f, a * d + b * e + c * f, *third, *rows[3])
    cross = (b * f - c * e, c * d - a * f, a * e - b * d)
    wanted = (1, 1, 0, *cross, 0, 0, 0, 1)
    return all(abs(v - w) <= RIGID_TOLERANCE for v, w in zip(found, wanted, strict=True))


def named(value: Any) -> str:
    """What JSON calls the type of a value."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "an object"


def shown(value: Any) -> str:
    """A value as it may stand in a message: quoted, escaped, short."""
    text = ascii(value) if isinstance(value, str | int | float) else named(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
