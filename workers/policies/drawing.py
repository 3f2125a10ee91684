"""The usual pictures: one view as it is, a canvas cut into tiles, a square padded and shrunk.

`drawn` fills what a policy leaves out: no padding, no crops, no thumbnail.
"""

from dataclasses import dataclass

import numpy as np

from schemas.sized import Bools, Drawn, Ints, Ragged, Resample, ThumbnailOf

NONE, FIRST, LAST = range(3)
"""Indexes into THUMBNAILS."""


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """Where a resized picture is pasted: [n, 2] size and place in pixels, and one colour."""

    wh: Ints
    xy: Ints
    rgb: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A second, smaller view: [n, 2] its size; `where` is int [n], NONE, FIRST or LAST.

    `resized_wh` and `xy`, both [n, 2], say where the picture lies on it if it does not fill it.
    """

    where: Ints
    wh: Ints
    of: ThumbnailOf = "source"
    resized_wh: Ints | None = None
    xy: Ints | None = None


def drawn(
    resized_wh: Ints,
    *,
    via: Ragged | None = None,
    canvas: Canvas | None = None,
    view_wh: Ints | None = None,
    crops: Ragged | None = None,
    pieces: Ragged | None = None,
    thumbnail: Thumbnail | None = None,
    resample: Resample = "bicubic",
) -> Drawn:
    """The pictures of n media whose resize target is [n, 2] `resized_wh`."""
    rows = len(resized_wh)
    none = np.broadcast_to(np.int64(0), (rows, 2))
    rgb = (0, 0, 0) if canvas is None else canvas.rgb
    canvas_wh = resized_wh if canvas is None else canvas.wh
    small = thumbnail or Thumbnail(where=none[:, 0], wh=none)

    def shown(pair: Ints) -> Ints:
        return none if thumbnail is None else pair * (small.where > 0)[:, None]

    return Drawn(
        via_wh=Ragged.empty(rows, 2) if via is None else via,
        transposed=np.broadcast_to(np.False_, rows),
        resized_wh=resized_wh,
        canvas_wh=canvas_wh,
        paste_xy=none if canvas is None else canvas.xy,
        pad_rgb=np.broadcast_to(np.array(rgb, np.int64), (rows, 3)),
        view_wh=canvas_wh if view_wh is None else view_wh,
        crops_ltrb=Ragged.empty(rows, 4) if crops is None else crops,
        pieces=Ragged.empty(rows, 6) if pieces is None else pieces,
        thumbnail=small.where,
        thumbnail_wh=shown(small.wh),
        thumbnail_resized_wh=shown(small.wh if small.resized_wh is None else small.resized_wh),
        thumbnail_xy=none if small.xy is None else shown(small.xy),
        resample=resample,
        thumbnail_of=small.of,
    )


def square(side: int, shown: Bools) -> Ints:
    """[n, 2] a square of this side in the rows of the mask, (0, 0) elsewhere."""
    return np.repeat(shown[:, None] * np.int64(side), 2, axis=1)


def center_in(canvas_wh: Ints, picture_wh: Ints) -> Ints:
    """[n, 2] place of a picture in the middle of a canvas, rounded down."""
    return (canvas_wh - picture_wh) // 2
