"""Boxes and points as models write them: cut at the edges of a view, in thousandths, in pixels.

Sources: QwenLM/Qwen3-VL qwen-vl-finetune/tools/process_bbox.ipynb, InternVL's chat data format.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchpack.view_maps import Floats, View, each_of


def clip(boxes: npt.ArrayLike, view: View) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Boxes [n, 4] of a view cut at its edges, and [n] whether any area of them is in it."""
    numbers = np.asarray(boxes, np.float64)
    inside = np.clip(numbers, 0.0, each_of(view.size, numbers))
    return inside, np.asarray((inside[..., 2:] > inside[..., :2]).all(axis=-1))


def thousandths(xy: npt.ArrayLike, picture_wh: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Points or boxes in whole thousandths of their picture, 0 to 1000.

    As Qwen2-VL and InternVL write them, of the source picture: `round(x / width * 1000)`, a half
    to the even number. Qwen2-VL holds them to the bounds; InternVL's boxes keep them anyway.
    """
    return whole_shares(xy, picture_wh, 1000)


def whole_shares(xy: npt.ArrayLike, picture_wh: npt.ArrayLike, of: int) -> npt.NDArray[np.int64]:
    """The same in other parts of the picture: of 999, 0 to 999, as DeepSeek-VL2 reads them."""
    numbers = np.asarray(xy, np.float64)
    return np.clip(np.rint(numbers / each_of(picture_wh, numbers) * of), 0, of).astype(np.int64)


def whole_pixels(xy: npt.ArrayLike, picture_wh: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Points or boxes in whole pixels of their picture, 0 to width - 1 and height - 1.

    As Qwen2.5-VL writes them, of the resized picture: its one view, after `to_view`. Points of
    several pictures [n, 2] may have the sizes [n, 2] of each.
    """
    numbers = np.asarray(xy, np.float64)
    return np.clip(np.rint(numbers), 0, each_of(picture_wh, numbers) - 1).astype(np.int64)
