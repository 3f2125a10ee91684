"""Surveyed samples as the Arrow table SURVEYED: nested columns built flat, not row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import pyarrow as pa

from schemas.reasons import Reason
from schemas.tables import BOX, ITEM, PART, SURVEYED, TURN, conform
from workers.measure import Medium
from workers.sources.sample import Box, MediaRef, Part, Turn


@dataclass(frozen=True, slots=True)
class Item:
    """One medium of a sample: as its record names it, and as it was found; with its depth map."""

    ref: MediaRef
    medium: Medium
    depth: Medium | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """The medium's, and its depth map's (of the archive that it lies in)."""
        more = self.depth.notes if self.depth else ()
        return tuple(dict.fromkeys((*self.medium.notes, *more)))


@dataclass(frozen=True, slots=True)
class Row:
    """One surveyed sample; a dropped one has no turns and no items."""

    sample_id: str
    source: str
    origin: str
    turns: tuple[Turn, ...] = ()
    items: tuple[Item, ...] = ()
    drop: Reason | None = None
    message: str | None = None


Build = Callable[[list[Any]], pa.Array]


def to_table(rows: Sequence[Row]) -> pa.Table:
    """The rows, in order, as SURVEYED."""
    columns = [
        pa.array([row.sample_id for row in rows], pa.string()),
        pa.array([row.source for row in rows], pa.string()),
        pa.array([row.origin for row in rows], pa.string()),
        _lists([row.turns for row in rows], _turns),
        _lists([row.items for row in rows], _items),
        pa.array([None if row.drop is None else row.drop.value for row in rows], pa.string()),
        pa.array([row.message for row in rows], pa.string()),
    ]
    return conform(pa.Table.from_arrays(columns, schema=SURVEYED), SURVEYED)


def _lists(lists: Sequence[Sequence[Any]], build: Build) -> pa.Array:
    offsets = pa.array(accumulate(map(len, lists), initial=0), pa.int32())
    return pa.ListArray.from_arrays(offsets, build(list(chain.from_iterable(lists))))


def _turns(turns: list[Turn]) -> pa.Array:
    roles = pa.array([turn.role for turn in turns], pa.string())
    parts = _lists([turn.parts for turn in turns], _parts)
    return pa.StructArray.from_arrays([roles, parts], fields=list(TURN))


def _parts(parts: list[Part]) -> pa.Array:
    columns = [
        pa.array([_kind(part) for part in parts], pa.string()),
        pa.array([part.text for part in parts], pa.string()),
        pa.array([part.item for part in parts], pa.int32()),
        _lists([part.xy for part in parts], _floats),
    ]
    return pa.StructArray.from_arrays(columns, fields=list(PART))


def _kind(part: Part) -> str:
    if part.xy:
        return "box" if len(part.xy) == 4 else "point"
    return "text" if part.item < 0 else "media"


def _boxes(boxes: list[Box]) -> pa.Array:
    corners = pa.array(list(chain.from_iterable(box.xyxy for box in boxes)), pa.float64())
    columns = [
        pa.FixedSizeListArray.from_arrays(corners, 4),
        pa.array([box.label for box in boxes], pa.string()),
    ]
    return pa.StructArray.from_arrays(columns, fields=list(BOX))


def _texts(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.string())


def _floats(values: list[float]) -> pa.Array:
    return pa.array(values, pa.float64())


def _items(items: list[Item]) -> pa.Array:
    refs = [item.ref for item in items]
    media = [item.medium for item in items]
    headers = [medium.header for medium in media]
    cameras = [ref.camera for ref in refs]
    columns: dict[str, Sequence[Any] | pa.Array] = {
        "kind": [ref.kind for ref in refs],
        "path": [ref.path for ref in refs],
        "member": [ref.member for ref in refs],
        "offset": [medium.offset for medium in media],
        "size": [medium.size for medium in media],
        "sha256": [medium.sha256 for medium in media],
        "format": [header.format for header in headers],
        "mode": [header.mode for header in headers],
        "alpha": [header.alpha for header in headers],
        "width": [header.width for header in headers],
        "height": [header.height for header in headers],
        "orientation": [header.orientation for header in headers],
        "frames": [header.frames for header in headers],
        "fps": [header.fps for header in headers],
        "duration": [header.duration for header in headers],
        "clip_start": [ref.clip_start for ref in refs],
        "clip_end": [ref.clip_end for ref in refs],
        "notes": _lists([item.notes for item in items], _texts),
        "boxes": _lists([ref.boxes for ref in refs], _boxes),
        "intrinsics": _lists([camera.intrinsics if camera else () for camera in cameras], _floats),
        "pose": _lists([camera.pose if camera else () for camera in cameras], _floats),
        "camera_convention": [camera.convention if camera else "" for camera in cameras],
        **_depth_columns(items),
    }
    arrays = [
        values if isinstance(values, pa.Array) else pa.array(values, field.type)
        for field, values in ((field, columns[field.name]) for field in ITEM)
    ]
    return pa.StructArray.from_arrays(arrays, fields=list(ITEM))


def _depth_columns(items: list[Item]) -> dict[str, list[Any]]:
    refs = [item.ref.depth for item in items]
    found = [item.depth for item in items]
    return {
        "depth_path": [ref.path if ref else "" for ref in refs],
        "depth_member": [ref.member if ref else "" for ref in refs],
        "depth_offset": [depth.offset if depth else 0 for depth in found],
        "depth_size": [depth.size if depth else 0 for depth in found],
        "depth_sha256": [depth.sha256 if depth else "" for depth in found],
        "depth_steps_a_metre": [ref.steps_a_metre if ref else 0.0 for ref in refs],
    }
