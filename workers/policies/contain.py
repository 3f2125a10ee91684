"""The largest picture that fits a canvas, in its middle: `contain` and `pad` of PIL/ImageOps.py.

One side is the canvas's, the other rounded half to even; on a banner it may round to 0, where
Pillow 13 shows the bare canvas and Pillow 11 raises.
"""

import numpy as np

from schemas.sized import Ints


def contain(size_wh: tuple[Ints, Ints], canvas_wh: Ints) -> Ints:
    """[n, 2] the size on the canvas of pictures of at least one pixel; (0, 0) where it has none."""
    width, height = size_wh
    canvas_width, canvas_height = canvas_wh.T
    ratio, canvas_ratio = width / height, canvas_width / np.maximum(canvas_height, 1)
    fits = [
        np.where(ratio < canvas_ratio, np.rint(ratio * canvas_height), canvas_width),
        np.where(ratio > canvas_ratio, np.rint(height / width * canvas_width), canvas_height),
    ]
    return np.stack(fits, axis=1).astype(np.int64)


def middle(canvas_wh: Ints, picture_wh: Ints) -> Ints:
    """[n, 2] where the picture is pasted: half the rest, rounded half to even."""
    return np.asarray(np.rint((canvas_wh - picture_wh) * 0.5), np.int64)
