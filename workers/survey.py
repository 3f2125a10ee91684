"""Survey: a block of records → the table SURVEYED, one row a sample, no pixel decoded.

Turns and parts as written; for every medium its byte range, sha256 and header. A fault of one
sample drops it with a reason, the file, the member and the byte range; the block goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from schemas.reasons import Reason
from workers.faults import Fault
from workers.measure import Measurer, Medium, Ref, place
from workers.media_files import Input, MediaFiles
from workers.sources.records import parse_line, read_lines
from workers.sources.sample import MediaRef, Sample
from workers.surveyed import Item, Row, to_table

VERSION = 2

ASPECT_TOLERANCE = 0.05
"""How far the sides of a depth map may be from its picture's ratio, beside a pixel of rounding:
ScanNet's 640×480 for 1296×968 are 0.4 % off, one that lies on its side is 78 % off.
"""


@dataclass(frozen=True, slots=True)
class SurveySpec:
    """A block of one source: a byte range of whole lines of `records`, media below `root`."""

    source: str
    records: Path
    root: Path
    start: int
    end: int
    first_line: int


def survey(block: SurveySpec) -> tuple[pa.Table, list[Input]]:
    """The block's samples, in order, and the media files that they name.

    The records file is no input here: the range has its own digest (`plan_blocks`). Raises
    BuildError where that file has become shorter, and OSError where reading fails.
    """
    with MediaFiles(block.root) as files:
        measure, records = Measurer(files), relative_name(block)
        rows = [
            _row(parse_line(line), f"{records}#{line.offset}+{line.size}", block.source, measure)
            for line in read_lines(block.records, block.start, block.end, block.first_line)
        ]
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


def relative_name(block: SurveySpec) -> str:
    """The records file as origins name it: the same wherever the source lies."""
    if block.records.is_relative_to(block.root):
        return block.records.relative_to(block.root).as_posix()
    return block.records.name
