"""AnyRes arithmetic: the canvas of a picture, its size on that canvas, and features cut to it.

1. Best canvas: the one that keeps the most of the picture's pixels, then the one with least waste.
2. On the canvas: the limiting side is exact, the other rounded up, pasted in the middle.
3. Unpad: the stitched feature map loses the rows or columns that saw only padding.
Sources: LLaVA-VL/LLaVA-NeXT llava/mm_utils.py (`select_best_resolution`, `resize_and_pad_image`),
llava/model/llava_arch.py (`unpad_image`); DeepSeek-VL2 and others choose their canvas alike.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from schemas.sized import Floats, Ints

Canvases = Sequence[tuple[int, int]]

GRID_SPEC = r"^\(\d{1,2}x\d{1,2}\),.*\(\d{1,2}x\d{1,2}\)$"
"""What `spec_canvases` reads."""


BLOCK = 1 << 14
"""Pictures at a time, so that what is compared stays in the cache: twice as fast."""


def best_canvas(width: Ints, height: Ints, canvases: Canvases) -> Ints:
    """[n] the index of the (width, height) canvas for each picture; the first listed on a full tie.

    No canvas can enlarge what a picture holds, so a small picture ties and takes the least waste.
    """
    choice = np.zeros(len(width), np.int64)
    for start in range(0, len(width), BLOCK):
        rows = slice(start, start + BLOCK)
        choice[rows] = _best(width[rows].astype(float), height[rows].astype(float), canvases)
    return choice


def _best(width: Floats, height: Floats, canvases: Canvases) -> Ints:
    # those that keep the same waste the less the smaller they are: then the first of them wins
    order = sorted(range(len(canvases)), key=lambda index: math.prod(canvases[index]))
    pixels = width * height
    across = {canvas[0]: canvas[0] / width for canvas in canvases}
    down = {canvas[1]: canvas[1] / height for canvas in canvases}
    choice, most = np.zeros(len(width), np.int64), np.full(len(width), -1.0)
    for index in order:
        canvas_width, canvas_height = canvases[index]
        scale = np.minimum(across[canvas_width], down[canvas_height])
        held = np.minimum(np.trunc(width * scale) * np.trunc(height * scale), pixels)
        np.copyto(choice, index, where=held > most)
        np.maximum(most, held, out=most)
    return choice


def fit(size_wh: Ints, canvas_wh: Ints) -> Ints:
    """[n, 2] the size of each picture on its canvas: one side exact, the other rounded up."""
    width, height = size_wh.T.astype(np.float64)
    to_width, to_height = canvas_wh.T / (width, height)
    wide = to_width < to_height
    scaled = np.ceil(np.stack([width * to_height, height * to_width], axis=1)).astype(np.int64)
    exact = np.stack([wide, ~wide], axis=1)
    return np.where(exact, canvas_wh, np.minimum(scaled, canvas_wh))


def unpad(size_wh: Ints, map_wh: Ints, digits: int | None = None) -> Ints:
    """[n, 2] columns and rows that a feature map [n, 2] keeps of its picture; can be 0.

    The same number is cut from both ends, so one column or row of padding may stay. `digits` is
    the decimals that transformers rounds to first; the original loses a row at 55.99999999999999.
    """
    width, height = size_wh.T.astype(np.float64)
    columns, rows = map_wh.T
    wide = width / height > columns / rows
    content = np.where(wide, height * (columns / width), width * (rows / height))
    content = np.trunc(content if digits is None else np.round(content, digits)).astype(np.int64)
    along = np.where(wide, rows, columns)
    kept = along - 2 * ((along - content) // 2)
    return np.where(np.stack([wide, ~wide], axis=1), map_wh, kept[:, None])


def bilinear_size(map_wh: Ints, features: int) -> Ints:
    """[n, 2] the map reduced to about `features` features where it has over 1.21 times as many.

    No side becomes 0 while the map of n x n-patch tiles has at most 1.21 n tiles along a side.
    """
    columns, rows = map_wh.T
    times = np.sqrt(rows * columns / features)
    more = times > 1.1
    return np.where(more[:, None], map_wh // np.where(more, times, 1.0)[:, None], map_wh).astype(
        np.int64
    )


def next_canvases(fields: dict[str, Any]) -> tuple[tuple[int, int], ...]:
    """The five canvases of LLaVA-NeXT in tiles of `image_size`, in the order of its configs."""
    size = fields["image_size"]
    grids = [(1, 2), (2, 1), (2, 2), (3, 1), (1, 3)]
    return tuple((columns * size, rows * size) for columns, rows in grids)


def without_largest(canvases: Canvases) -> tuple[tuple[int, int], ...]:
    """The canvases but those of most pixels; empty if all are equal."""
    most = max(width * height for width, height in canvases)
    return tuple((width, height) for width, height in canvases if width * height < most)


def spec_canvases(spec: str, image_size: int) -> list[tuple[int, int]]:
    """The canvases of "(1x1),...,(6x6)": all from the first numbers of tiles to the last, the first
    number outermost.
    """
    pairs = [(int(one), int(two)) for one, two in re.findall(r"\((\d+)x(\d+)\)", spec)]
    (low, other_low), (high, other_high) = pairs[0], pairs[-1]
    grids = [(i, j) for i in range(low, high + 1) for j in range(other_low, other_high + 1)]
    return [(columns * image_size, rows * image_size) for columns, rows in grids]


def check_canvases(canvases: Canvases, image_size: int, most: int = 64) -> None:
    """Raise ValueError unless each canvas is a whole number of tiles, `most` along a side."""
    if not canvases:
        raise ValueError("at least one canvas is needed")
    for width, height in canvases:
        if min(width, height) < image_size or width % image_size or height % image_size:
            raise ValueError(f"canvas {width} x {height} is no multiple of {image_size} pixels")
        if max(width, height) > most * image_size:
            raise ValueError(f"canvas {width} x {height}: more than {most} tiles along a side")
