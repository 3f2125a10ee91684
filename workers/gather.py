"""The samples of a shard, gathered from the tables of their blocks: a few rows of many
memory-mapped files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Ints, offsets, one_chunk
from workers.expand import TextRow, run_lengths
from workers.pixels import Alpha


class Source(NamedTuple):
    """ITEM, as far as a pack or a renderer needs it."""

    kind: str
    path: str
    offset: int
    size: int
    sha256: str
    format: str
    mode: str
    alpha: bool
    width: int
    height: int
    orientation: int
    notes: list[str]
    boxes: list[dict[str, Any]]
    intrinsics: list[float]
    pose: list[float]
    camera_convention: str
    depth_path: str
    depth_offset: int
    depth_size: int
    depth_sha256: str
    depth_steps_a_metre: float


class Geometry(NamedTuple):
    """PLANNED_ITEM, as far as a pack or a renderer needs it."""

    via_wh: list[list[int]]
    transposed: bool
    resized_wh: list[int]
    canvas_wh: list[int]
    paste_xy: list[int]
    pad_rgb: list[int]
    view_wh: list[int]
    resample: str
    crops_ltrb: list[list[int]]
    pieces: list[list[int]]
    thumbnail: str
    thumbnail_of: str
    thumbnail_wh: list[int]
    thumbnail_resized_wh: list[int]
    thumbnail_xy: list[int]
    frame_indices: list[int]
    seconds_per_grid: float
    grid_thw: list[list[int]]
    merge: int
    runs: int
    parts: list[list[int]]
    kept_patches: list[int]
    alpha: Alpha
    policy: str


@dataclass(frozen=True)
class Item:
    """One picture, view or video of a sample."""

    source: Source
    geometry: Geometry
    run_text: Sequence[Sequence[int]]


COSTS = ("length", "tokens", "patches", "attention", "vit_attention")
"""Columns of SIZED, the last fields of `Sample`."""


@dataclass(frozen=True)
class Sample:
    """One sample with its text and items."""

    sample_id: str
    source: str
    origin: str
    text: TextRow
    items: Sequence[Item]
    length: int
    tokens: int
    patches: int
    attention: int
    vit_attention: int


def items_of(surveyed: pa.Table, sized: pa.Table) -> Iterator[list[Item]]:
    """The items of each row; both tables row for row, `sized` without dropped rows."""
    sources = one_chunk(surveyed.column("items"))
    shapes = one_chunk(sized.column("items"))
    source_rows = [Source(*row) for row in _rows(sources.flatten(), Source._fields)]
    shape_rows = [Geometry(*row) for row in _rows(shapes.flatten(), Geometry._fields)]
    bounds = offsets(shapes)
    for row, texts in enumerate(sized.column("run_text").to_pylist()):
        items, taken = [], 0
        for number in range(bounds[row], bounds[row + 1]):
            shape = shape_rows[number]
            runs = shape.runs * len(run_lengths(shape.parts)) + 1
            items.append(Item(source_rows[number], shape, texts[taken : taken + runs]))
            taken += runs
        yield items


def gather(surveyed: pa.Table, tokenized: pa.Table, sized: pa.Table) -> Iterator[Sample]:
    """The samples of a block; three tables row for row, none of them dropped."""
    ids, sources, origins = (
        surveyed.column(n).to_pylist() for n in ("sample_id", "source", "origin")
    )
    columns = [_cut(tokenized, name) for name in ("tokens", "loss", "slots")]
    texts = dict(enumerate(map(TextRow, *columns))) | _late_texts(sized)
    costs = [sized.column(n).to_pylist() for n in COSTS]
    for row, items in enumerate(items_of(surveyed, sized)):
        figures = [column[row] for column in costs]
        yield Sample(ids[row], sources[row], origins[row], texts[row], items, *figures)


def _late_texts(sized: pa.Table) -> dict[int, TextRow]:
    """The texts that waited for the sizes of pictures, by row."""
    column = one_chunk(sized.column("text"))
    rows = np.flatnonzero(np.diff(offsets(column))).tolist()
    found = column.flatten()
    columns = [_split(pc.struct_field(found, name)) for name in ("tokens", "loss", "slots")]
    return dict(zip(rows, map(TextRow, *columns), strict=True))


def _rows(structs: pa.StructArray, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(pc.struct_field(structs, name).to_pylist() for name in names), strict=True)


def _cut(table: pa.Table, name: str) -> list[np.ndarray[Any, np.dtype[np.int32]]]:
    return _split(one_chunk(table.column(name)))


def _split(lists: pa.ListArray) -> list[np.ndarray[Any, np.dtype[np.int32]]]:
    bounds: Ints = offsets(lists)
    return np.split(lists.flatten().to_numpy(), bounds[1:-1]) if len(lists) else []


def by_block(blocks: Ints) -> Mapping[int, Ints]:
    """For each block its positions in the column, blocks ascending."""
    if not len(blocks):
        return {}
    order = np.argsort(blocks, kind="stable")
    numbers, starts = np.unique(blocks[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True))
