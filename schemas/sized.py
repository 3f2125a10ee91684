"""Media in, `Sized` out: the contract between the survey, the resolution policies and the renderer.

Both are columns over n media, so that one image is a column of one. Lists of varying length are
`Ragged`: the values of all rows one after another, and the row offsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from patchpack.arrays import THUMBNAILS
from schemas.columns import is_none

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Media:
    """n media as a policy sees them; every array has length n.

    `kind` is image, video or view (a posed picture of a 3D scene, which a policy treats as an image
    unless it says more); `width` and `height` are pixels after the EXIF orientation; `frames` is 1
    and `fps` 0.0 for a picture; `clip_start` and `clip_end` are seconds, NaN where the record names
    no bound; `images` is the number of images and views in the same sample.
    """

    kind: npt.NDArray[np.object_]
    width: Ints
    height: Ints
    frames: Ints
    fps: Floats
    clip_start: Floats
    clip_end: Floats
    images: Ints

    def __len__(self) -> int:
        return len(self.width)

    def take(self, rows: Ints) -> Media:
        """The media at these positions, in this order."""
        return Media(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})

    @classmethod
    def concatenate(cls, parts: Sequence[Media]) -> Self:
        """The media of all parts, one part after another."""
        names = [one.name for one in fields(cls)]
        return cls(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})


def images(width: Ints, height: Ints) -> Media:
    """Media that are single images of these sizes in pixels."""
    n = len(width)
    return Media(
        kind=np.full(n, "image", dtype=object),
        width=np.asarray(width, np.int64),
        height=np.asarray(height, np.int64),
        frames=np.ones(n, np.int64),
        fps=np.zeros(n),
        clip_start=np.full(n, np.nan),
        clip_end=np.full(n, np.nan),
        images=np.ones(n, np.int64),
    )


@dataclass(frozen=True)
class Ragged:
    """Lists of varying length: row i is `values[offsets[i]:offsets[i + 1]]`, [k] or [k, d]."""

    values: Ints
    offsets: Ints

    def __getitem__(self, row: int) -> Ints:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def from_counts(cls, values: Ints, counts: Ints) -> Self:
        """Rows of these lengths cut from `values` one after another."""
        return cls(values, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))

    @classmethod
    def empty(cls, rows: int, width: int | None = None) -> Self:
        """`rows` empty lists; of tuples of `width` numbers if given."""
        shape = (0,) if width is None else (0, width)
        return cls(np.zeros(shape, np.int64), np.zeros(rows + 1, np.int64))

    def take(self, rows: Ints) -> Ragged:
        """The lists at these positions, in this order."""
        counts = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        index = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][rows] - offsets[:-1], counts)
        return Ragged(self.values.take(index, axis=0), offsets)


_PAIR = pa.list_(pa.int32(), 2)
_BOX = pa.list_(pa.int32(), 4)
_GRID = pa.list_(pa.int32(), 3)

SIZED_ITEM = pa.schema(
    [
        pa.field("resized_wh", _PAIR, nullable=False),
        pa.field("canvas_wh", _PAIR, nullable=False),
        pa.field("paste_xy", _PAIR, nullable=False),
        pa.field("pad_rgb", pa.list_(pa.int32(), 3), nullable=False),
        pa.field("crops_ltrb", pa.list_(_BOX), nullable=False),
        pa.field("thumbnail", pa.string(), nullable=False),
        pa.field("thumbnail_wh", _PAIR, nullable=False),
        pa.field("frame_indices", pa.list_(pa.int32()), nullable=False),
        pa.field("seconds_per_grid", pa.float64(), nullable=False),
        pa.field("grid_thw", pa.list_(_GRID), nullable=False),
        pa.field("merge", pa.int32(), nullable=False),
        pa.field("runs", pa.int32(), nullable=False),
        pa.field("vision_tokens", pa.int64(), nullable=False),
        pa.field("llm_tokens", pa.int64(), nullable=False),
        pa.field("vit_patches", pa.int64(), nullable=False),
        pa.field("variant", pa.string(), nullable=False),
        pa.field("drop", pa.string()),
        pa.field("message", pa.string()),
    ]
)
"""One row a media item. Lists of one item are in the order in which the model sees them."""


@dataclass(frozen=True, kw_only=True)
class Sized:
    """What a policy decides for n media; the columns of `SIZED_ITEM`.

    resized_wh      int [n, 2]  resize target in pixels
    canvas_wh       int [n, 2]  the canvas that it is pasted on; equals `resized_wh` without padding
    paste_xy        int [n, 2]  where on the canvas
    pad_rgb         int [n, 3]  colour of the canvas
    crops_ltrb      Ragged [k, 4]  crop boxes on the canvas; empty where the canvas is one view
    thumbnail       int [n]  index into THUMBNAILS
    thumbnail_wh    int [n, 2]  a direct resize of the original; (0, 0) if there is none
    frame_indices   Ragged [k]  frames picked from a video, absolute; empty for a picture
    seconds_per_grid  float [n]  seconds a temporal patch; 0.0 for a picture
    grid_thw        Ragged [v, 3]  one [t, h, w] in ViT patches for each view (crop, thumbnail,
                    frame group)
    merge           side of the block of patches that becomes one LLM token
    runs            int [n]  runs of feature tokens, each between its own start and end token
                    (1, but one a frame where the family writes a name before each frame)
    vision_tokens   int [n]  feature tokens
    llm_tokens      int [n]  the same with every special, newline and separator token; text that
                    the policy inserts (frame names, timestamps) is not in it, since it depends on
                    the tokenizer
    vit_patches     int [n]  patches that the encoder computes
    variant         the published code that it equals
    drop, message   object [n]  a `Reason` and a sentence with the numbers, or None
    """

    resized_wh: Ints
    canvas_wh: Ints
    paste_xy: Ints
    pad_rgb: Ints
    crops_ltrb: Ragged
    thumbnail: Ints
    thumbnail_wh: Ints
    frame_indices: Ragged
    seconds_per_grid: Floats
    grid_thw: Ragged
    merge: int
    runs: Ints
    vision_tokens: Ints
    llm_tokens: Ints
    vit_patches: Ints
    variant: str
    drop: npt.NDArray[np.object_]
    message: npt.NDArray[np.object_] = field(repr=False)

    def __len__(self) -> int:
        return len(self.vision_tokens)

    def to_table(self) -> pa.Table:
        """The n rows as an Arrow table of schema `SIZED_ITEM`."""
        n = len(self)
        names = pa.array(THUMBNAILS, pa.string())
        columns: list[pa.Array] = [
            _fixed(self.resized_wh),
            _fixed(self.canvas_wh),
            _fixed(self.paste_xy),
            _fixed(self.pad_rgb),
            _lists(self.crops_ltrb),
            names.take(pa.array(self.thumbnail)),
            _fixed(self.thumbnail_wh),
            _lists(self.frame_indices),
            pa.array(self.seconds_per_grid, pa.float64()),
            _lists(self.grid_thw),
            pa.repeat(pa.scalar(self.merge, pa.int32()), n),
            pa.array(self.runs, pa.int32()),
            pa.array(self.vision_tokens, pa.int64()),
            pa.array(self.llm_tokens, pa.int64()),
            pa.array(self.vit_patches, pa.int64()),
            pa.repeat(pa.scalar(self.variant, pa.string()), n),
            _sparse(self.drop),
            _sparse(self.message),
        ]
        return pa.Table.from_arrays(columns, schema=SIZED_ITEM)


def _fixed(values: Ints) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values, np.int32).reshape(-1), pa.int32())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _sparse(values: npt.NDArray[np.object_]) -> pa.Array:
    """Strings of a column that is null nearly everywhere; a `Reason` is its value."""
    if is_none(values).all():
        return pa.nulls(len(values), pa.string())
    return pa.array(values, pa.string())


def _lists(ragged: Ragged) -> pa.Array:
    values = ragged.values
    inner = _fixed(values) if values.ndim == 2 else pa.array(values.astype(np.int32), pa.int32())
    return pa.ListArray.from_arrays(pa.array(ragged.offsets, pa.int32()), inner)
