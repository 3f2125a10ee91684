"""The samples of a partition that are still in: their text lengths and their media, as flat
columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Ints, offsets, one_chunk
from schemas.sized import Media


@dataclass(frozen=True)
class Kept:
    """s samples with m media, in partition order."""

    place: Ints  # [s] row in SELECTED
    text_tokens: Ints  # [s]
    loss_tokens: Ints  # [s]
    first_item: Ints  # [s + 1] media of sample i are first_item[i] .. first_item[i + 1]
    media: Media  # [m]
    source: npt.NDArray[np.object_]  # [m] name of the source
    file_bytes: Ints  # [m] size of the source file

    def items_of(self, samples: Ints) -> Ints:
        """Numbers of all media of these samples."""
        counts = np.diff(self.first_item)[samples]
        starts = np.repeat(self.first_item[:-1][samples] - np.cumsum(counts) + counts, counts)
        items: Ints = np.arange(counts.sum()) + starts
        return items

    def owners(self, items: Ints) -> Ints:
        """The sample of each of these media."""
        owners: Ints = np.searchsorted(self.first_item, items, side="right") - 1
        return owners


def kept_samples(
    selected: pa.Table, surveyed: Sequence[pa.Table], tokenized: Sequence[pa.Table]
) -> Kept:
    """What neither select nor tokenize dropped; the blocks' rows one after another are the rows of
    `selected`.
    """
    alive = pc.is_null(selected.column("drop")).to_numpy()
    first, parts = 0, []
    for survey, text in zip(surveyed, tokenized, strict=True):
        keep = alive[first : first + len(survey)] & pc.is_null(text.column("drop")).to_numpy()
        parts.append(_block(survey, text, np.flatnonzero(keep), first))
        first += len(survey)
    return _join(parts)


def with_text_drops(selected: pa.Table, tokenized: Sequence[pa.Table]) -> pa.Table:
    """SELECTED with what tokenize dropped; the first reason of a sample stands."""
    earlier = selected.column("drop").is_valid()
    for name in ("drop", "message"):
        text = pa.chunked_array(
            [chunk for table in tokenized for chunk in table.column(name).chunks], pa.string()
        )
        merged = pc.if_else(earlier, selected.column(name), text)
        selected = selected.set_column(
            selected.column_names.index(name), selected.schema.field(name), merged
        )
    return selected


def _block(survey: pa.Table, text: pa.Table, rows: Ints, first: int) -> Kept:
    items = one_chunk(survey.column("items"))
    starts = offsets(items)
    counts = np.diff(starts)
    fields = items.flatten()
    index = np.repeat(starts[:-1][rows] - np.cumsum(counts[rows]) + counts[rows], counts[rows])
    index = np.arange(len(index)) + index

    def column(name: str) -> npt.NDArray[Any]:
        values = pc.struct_field(fields, name).to_numpy(zero_copy_only=False)
        taken: npt.NDArray[Any] = values[index]
        return taken

    kind = column("kind")
    owner = np.repeat(np.arange(len(rows)), counts[rows])
    loss = one_chunk(text.column("loss"))
    spans = loss.flatten().to_numpy().astype(np.int64).reshape(-1, 2)
    learned = _sums(spans[:, 1] - spans[:, 0], offsets(loss) // 2)
    return Kept(
        place=rows + first,
        text_tokens=np.diff(offsets(one_chunk(text.column("tokens"))))[rows],
        loss_tokens=learned[rows],
        first_item=np.concatenate([[0], np.cumsum(counts[rows])]),
        media=Media(
            kind=kind,
            width=column("width").astype(np.int64),
            height=column("height").astype(np.int64),
            frames=column("frames").astype(np.int64),
            fps=column("fps").astype(np.float64),
            clip_start=column("clip_start").astype(np.float64),
            clip_end=column("clip_end").astype(np.float64),
            images=np.bincount(owner[kind != "video"], minlength=len(rows))[owner],
            key=np.array([int(one[:16], 16) for one in column("sha256")], np.uint64),
        ),
        source=survey.column("source").to_numpy(zero_copy_only=False)[rows][owner],
        file_bytes=column("size").astype(np.int64),
    )


def _sums(values: Ints, starts: Ints) -> Ints:
    """Sum of each run of `values` between two starts."""
    total: Ints = np.concatenate([[0], np.cumsum(values)])
    return total[starts[1:]] - total[starts[:-1]]


def _join(parts: Sequence[Kept]) -> Kept:
    counts = np.concatenate([np.diff(part.first_item) for part in parts])
    return Kept(
        place=np.concatenate([part.place for part in parts]),
        text_tokens=np.concatenate([part.text_tokens for part in parts]),
        loss_tokens=np.concatenate([part.loss_tokens for part in parts]),
        first_item=np.concatenate([[0], np.cumsum(counts)]),
        media=Media.concatenate([part.media for part in parts]),
        source=np.concatenate([part.source for part in parts]),
        file_bytes=np.concatenate([part.file_bytes for part in parts]),
    )
