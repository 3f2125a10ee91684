"""The columns of a `Sized` whose picture is one view: neither padded nor cut, and no thumbnail."""

from typing import TypedDict

import numpy as np

from schemas.sized import Ints, Ragged


class OneView(TypedDict):
    """Fields of `Sized`."""

    resized_wh: Ints
    canvas_wh: Ints
    paste_xy: Ints
    pad_rgb: Ints
    crops_ltrb: Ragged
    thumbnail: Ints
    thumbnail_wh: Ints


def one_view(resized_wh: Ints) -> OneView:
    """The canvas is the resized picture."""
    rows = len(resized_wh)
    none = np.zeros_like(resized_wh)
    return OneView(
        resized_wh=resized_wh,
        canvas_wh=resized_wh,
        paste_xy=none,
        pad_rgb=np.zeros((rows, 3), np.int64),
        crops_ltrb=Ragged.empty(rows, 4),
        thumbnail=np.zeros(rows, np.int64),
        thumbnail_wh=none,
    )
