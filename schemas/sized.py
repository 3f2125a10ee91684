"""Media in, `Sized` out: the contract between the survey, the resolution policies and the renderer.

Both are columns over n media, so that one image is a column of one; lists of varying length are
`Ragged`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from patchpack.arrays import THUMBNAILS
from schemas.columns import is_none
from schemas.media import Media, images
from schemas.ragged import Bools, Floats, Ints, Ragged
from schemas.texts import Texts

__all__ = [
    "Bools",
    "Drawn",
    "Floats",
    "Ints",
    "Layout",
    "Media",
    "Ragged",
    "Resample",
    "Sized",
    "Texts",
    "ThumbnailOf",
    "images",
]

Resample = Literal["bicubic", "bilinear", "lanczos"]
ThumbnailOf = Literal["source", "canvas", "model"]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """How the pictures of n media are drawn; `workers/policies/drawing.py` fills the usual ones.

    1. Resize by `via_wh` in order, then to `resized_wh`, all with the filter `resample`.
    2. Paste at `paste_xy` on a canvas `canvas_wh` of the colour `pad_rgb`.
    3. Resize the canvas to `view_wh`; cut `crops_ltrb` out of it, or show it whole.
    4. Where there are `pieces`, one for each crop, a crop is resized once more, by the same filter,
       and pasted on a canvas of its own.
    5. The thumbnail is `thumbnail_of` (the source, the canvas of 3, or made by the model itself
       from that canvas) resized to `thumbnail_resized_wh` and pasted at `thumbnail_xy` on
       `thumbnail_wh`; all (0, 0) where there is none.

    via_wh          Ragged [k, 2]  nearly always empty
    transposed      bool [n]  1. is done with the picture mirrored along its diagonal, and mirrored
                    back; all numbers here are those of the upright picture
    crops_ltrb      Ragged [k, 4]  boxes in the order in which the model sees them
    pieces          Ragged [k, 6]  for each crop the width and height that it is resized to, its x
                    and y on its canvas, the width and height of that; or none in the row
    thumbnail       int [n]  index into THUMBNAILS: none, first, last
    """

    via_wh: Ragged
    transposed: Bools
    resized_wh: Ints
    canvas_wh: Ints
    paste_xy: Ints
    pad_rgb: Ints
    view_wh: Ints
    crops_ltrb: Ragged
    pieces: Ragged
    thumbnail: Ints
    thumbnail_wh: Ints
    thumbnail_resized_wh: Ints
    thumbnail_xy: Ints
    resample: Resample
    thumbnail_of: ThumbnailOf


NEWLINE, OTHER, NEXT = 2, 3, 4
"""Values of `parts[:, 2]`; the first two of a pack's `token_kind`, too."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The places that n media take in the sequence: `runs` times the same `parts`.

    runs            int [n]  runs of embeddings, each between its own start and end token (1, but
                    more where the family writes text or marks between frames or tiles); 0 for a
                    refused medium. Runs of unequal length are one repetition of `parts`, where each
                    row with NEXT after it ends a run: (14, 14, NEXT), (23, 20, NEXT) are 14 runs
                    of 14 features and 23 of 20
    parts           Ragged [k, 3]  rows, columns, after: `rows` rows of `columns` feature tokens,
                    each row followed by one embedding of kind `after` (NEWLINE, OTHER), or by none
                    (0). 48 rows of 36 features and a newline: (48, 36, 2); a learned begin token:
                    (1, 0, 3)
    texts           Texts around the runs
    """

    runs: Ints
    parts: Ragged
    texts: Texts

    @property
    def run_counts(self) -> Ints:
        """[n] runs of each medium."""
        rows, columns, after = self.parts.values.T
        ended = self.parts.sums(rows * (after == NEXT))
        filled = rows * (columns + (after > 0)) > 0  # a part without rows ends and begins nothing
        counts = self.parts.sums(filled.astype(np.int64))
        last = after[filled][np.cumsum(counts)[counts > 0] - 1]
        open_ = np.ones(len(counts), np.int64)
        open_[counts > 0] = last != NEXT  # what follows the last end, or all of it
        return self.runs * (ended + open_)

    @property
    def vision_tokens(self) -> Ints:
        """[n] feature tokens."""
        rows, columns, _ = self.parts.values.T
        return self.runs * self.parts.sums(rows * columns)

    @property
    def embeddings(self) -> Ints:
        """[n] feature tokens and the newline and other embeddings among them."""
        rows, columns, after = self.parts.values.T
        return self.runs * self.parts.sums(rows * (columns + ((after > 0) & (after < NEXT))))


_PAIR = pa.list_(pa.int32(), 2)
_BOX = pa.list_(pa.int32(), 4)
_TRIPLE = pa.list_(pa.int32(), 3)
_PIECE = pa.list_(pa.int32(), 6)


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


SIZED_ITEM = pa.schema(
    [
        _required("via_wh", pa.list_(_PAIR)),
        _required("transposed", pa.bool_()),
        _required("resized_wh", _PAIR),
        _required("canvas_wh", _PAIR),
        _required("paste_xy", _PAIR),
        _required("pad_rgb", _TRIPLE),
        _required("view_wh", _PAIR),
        _required("resample", pa.string()),
        _required("crops_ltrb", pa.list_(_BOX)),
        _required("pieces", pa.list_(_PIECE)),
        _required("thumbnail", pa.string()),
        _required("thumbnail_of", pa.string()),
        _required("thumbnail_wh", _PAIR),
        _required("thumbnail_resized_wh", _PAIR),
        _required("thumbnail_xy", _PAIR),
        _required("frame_indices", pa.list_(pa.int32())),
        _required("seconds_per_grid", pa.float64()),
        _required("grid_thw", pa.list_(_TRIPLE)),
        _required("merge", pa.int32()),
        _required("runs", pa.int32()),
        _required("parts", pa.list_(_TRIPLE)),
        _required("kept_patches", pa.list_(pa.int32())),
        _required("vision_tokens", pa.int64()),
        _required("llm_tokens", pa.int64()),
        _required("vit_patches", pa.int64()),
        _required("variant", pa.string()),
        pa.field("drop", pa.string()),
        pa.field("message", pa.string()),
    ]
)
"""One row a media item. Lists of one item are in the order in which the model sees them."""


@dataclass(frozen=True, kw_only=True)
class Sized:
    """What a policy decides for n media; the columns of `SIZED_ITEM`.

    drawn           Drawn  how the pictures are made
    layout          Layout  where features, newlines and separators stand in the sequence
    frame_indices   Ragged [k]  frames picked from a video, absolute; empty for a picture
    seconds_per_grid  float [n]  seconds a temporal patch; 0.0 for a picture
    grid_thw        Ragged [v, 3]  one [t, h, w] in ViT patches for each view (crop, thumbnail,
                    frame group)
    merge           int [n]  side of the block of patches that becomes one LLM token; 1 where
                    features are resampled in other ways or not at all
    llm_tokens      int [n]  embeddings with every start, end and special token; text of the policy
                    (frame names, timestamps) is not in it, since it depends on the tokenizer
    vit_patches     int [n]  patches that the encoder computes
    kept_patches    Ragged [k]  which of them, row-major, where the policy drops the others; empty
                    where it keeps all or draws anew in each epoch
    variant         the published code that it equals
    drop, message   object [n]  a `Reason` and a sentence with the numbers, or None
    """

    drawn: Drawn
    layout: Layout
    frame_indices: Ragged
    seconds_per_grid: Floats
    grid_thw: Ragged
    merge: Ints
    llm_tokens: Ints
    vit_patches: Ints
    kept_patches: Ragged
    variant: str
    drop: npt.NDArray[np.object_]
    message: npt.NDArray[np.object_] = field(repr=False)

    def __len__(self) -> int:
        return len(self.llm_tokens)

    def to_table(self) -> pa.Table:
        """The n rows as an Arrow table of schema `SIZED_ITEM`."""
        columns: dict[str, Any] = {
            **{one.name: getattr(self, one.name) for one in fields(self)},
            **{one.name: getattr(self.drawn, one.name) for one in fields(self.drawn)},
            **{one.name: getattr(self.layout, one.name) for one in fields(self.layout)},
            "vision_tokens": self.layout.vision_tokens,
        }
        names = pa.array(THUMBNAILS, pa.string())
        columns["thumbnail"] = names.take(_array(columns["thumbnail"], pa.int64(), len(self)))
        arrays = [_array(columns[one.name], one.type, len(self)) for one in SIZED_ITEM]
        return pa.Table.from_arrays(arrays, schema=SIZED_ITEM)


def _array(values: Any, kind: pa.DataType, rows: int) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, str):
        return pa.repeat(pa.scalar(values, kind), rows)
    if isinstance(values, Ragged):
        return _lists(values)
    if values.dtype == object:
        return _sparse(values)
    if values.ndim == 2:
        return _fixed(values)
    return pa.array(np.ascontiguousarray(values), kind)  # of one repeated value, too


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
    offsets = _array(ragged.offsets, pa.int32(), len(ragged) + 1)
    return pa.ListArray.from_arrays(offsets, inner)
