"""Survey: the samples of a block → the table SURVEYED, one row a sample, no pixel decoded.

Turns and parts as written; for every medium its byte range, sha256 and header. A fault of one
sample drops it with a reason, the file, the member and the byte range; the block goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from schemas.reasons import Reason
from workers.faults import Fault
from workers.measure import Measurer, Medium, Ref, place
from workers.media_files import Input, MediaFiles, StandIns
from workers.sources.sample import MediaRef, Sample
from workers.storage.folder import Folder
from workers.storage.staging import Staging
from workers.surveyed import Item, Row, to_table

VERSION = 3

ASPECT_TOLERANCE = 0.05
"""How far the sides of a depth map may be from its picture's ratio, beside a pixel of rounding:
ScanNet's 640×480 for 1296×968 are 0.4 % off, one that lies on its side is 78 % off.
"""


@dataclass(frozen=True)
class SurveySpec:
    """Where the media of a source lie."""

    source: str
    root: Folder
    stand_ins: StandIns
    staging: Staging | None = None
    """Local disk for remote tars that have to be indexed."""


def survey(spec: SurveySpec, samples: Iterable[tuple[Sample, str]]) -> tuple[pa.Table, list[Input]]:
    """The samples in order, each of which comes with its origin, and the media files that they
    name. Raises OSError where reading fails.
    """
    with MediaFiles(spec.root, spec.stand_ins, spec.staging) as files:
        measure = Measurer(files)
        rows = [_row(sample, origin, spec.source, measure) for sample, origin in samples]
        return to_table(rows), list(files.inputs.values())


def _row(sample: Sample, line: str, source: str, measure: Measurer) -> Row:
    """The sample with its media measured, or dropped with the first fault found."""
    sample_id = f"{source}/{sample.sample_id}"
    if sample.drop:
        return Row(sample_id, source, line, drop=sample.drop, message=sample.message)
    origin = measure.origin(sample.media[0]) if sample.media else None
    try:
        items = tuple(_item(ref, measure) for ref in sample.media)
    except Fault as fault:
        return Row(sample_id, source, origin or line, drop=fault.reason, message=fault.message)
    return Row(sample_id, source, origin or line, sample.turns, items)


def _item(ref: MediaRef, measure: Measurer) -> Item:
    medium = measure(ref)
    _check_boxes(ref, medium)
    depth = measure(ref.depth) if ref.depth else None
    if ref.depth and depth:
        _check_depth(ref.depth, depth, medium)
    return Item(ref, medium, depth)


def _check_boxes(ref: MediaRef, medium: Medium) -> None:
    width, height = medium.header.width, medium.header.height
    for i, box in enumerate(ref.boxes):
        x1, y1, x2, y2 = box.xyxy
        if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
            what = f"{list(box.xyxy)} is not inside {width}×{height}"
            raise _fault(Reason.BAD_BOX, f"{ref.field}.boxes[{i}]", ref, medium, what)


def _check_depth(ref: Ref, depth: Medium, picture: Medium) -> None:
    """A map of other proportions cannot show the same section of the world."""
    width, height = picture.header.width, picture.header.height
    wide, high = depth.header.width, depth.header.height
    if abs(wide * height - high * width) > max(ASPECT_TOLERANCE * wide * height, width, height):
        what = f"{wide}×{high} is no section of the world that the picture's {width}×{height} show"
        raise _fault(Reason.BAD_CAMERA, ref.field, ref, depth, what)


def _fault(reason: Reason, field: str, ref: Ref, medium: Medium, what: str) -> Fault:
    return Fault(reason, f"{field}: {place(ref, medium.offset, medium.size)}: {what}")
