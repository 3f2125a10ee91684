"""One input sample as its record states it: turns of parts, and media by reference.

Nothing here has been opened: widths, byte ranges and digests are the survey's to find.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Literal

from schemas.reasons import Reason

MediaKind = Literal["image", "video", "view"]


@dataclass(frozen=True, slots=True)
class Box:
    """A labelled box in pixels of the picture after its orientation: left, top, right, bottom."""

    xyxy: tuple[float, float, float, float]
    label: str


@dataclass(frozen=True, slots=True)
class Camera:
    """Where a view was taken: fx, fy, cx, cy in pixels, and camera to world, 4x4 row by row."""

    intrinsics: tuple[float, ...]
    pose: tuple[float, ...]
    convention: Literal["opencv", "opengl"]


@dataclass(frozen=True, slots=True)
class DepthRef:
    """The depth map of a view: a file, and how many of its steps are a metre."""

    path: str
    member: str
    field: str
    steps_a_metre: float


@dataclass(frozen=True, slots=True)
class MediaRef:
    """One medium named by a record; `field` is the place in the record, for messages."""

    kind: MediaKind
    path: str  # relative to the source's root, normalised, never outside it
    member: str  # of the tar at `path`; "" for a file of its own
    field: str
    clip_start: float = nan  # seconds; NaN = the record names none
    clip_end: float = nan
    boxes: tuple[Box, ...] = ()
    camera: Camera | None = None
    depth: DepthRef | None = None
    span: tuple[int, int] | None = None  # offset and size in `path`, where the source knows them


@dataclass(frozen=True, slots=True)
class Part:
    """A text (`item` -1), a medium (`text` empty), or a place in one, with `text` as its label.

    `item` is an index into the sample's media. A place is `xy`: left, top, right, bottom of a box,
    or x, y of a point, in pixels of the picture after its orientation.
    """

    text: str
    item: int = -1
    xy: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """What one role says, in order."""

    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A parsed record, or the reason why there is none; a dropped one has no turns and no media."""

    sample_id: str
    turns: tuple[Turn, ...] = ()
    media: tuple[MediaRef, ...] = ()
    drop: Reason | None = None
    message: str | None = None
