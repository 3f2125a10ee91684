"""`smart_resize` of the Qwen-VL family for columns of sizes: multiples of a factor, area in bounds.

The variants differ only for extreme shapes: where a side rounds to 0 and where the cap does.
Sources: QwenLM/Qwen2-VL and QwenLM/Qwen3-VL qwen-vl-utils/src/qwen_vl_utils/vision_process.py;
huggingface/transformers src/transformers/models/qwen2_vl/image_processing_qwen2_vl.py of 4.45.0,
4.57.1 and 5.23.0. Doubles, in the reference's order of operations: (side / beta) / factor.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from schemas.reasons import Reason
from schemas.sized import Floats, Ints
from workers.policies.verdicts import Bools, Verdicts

Variant = Literal["qwen_vl_utils", "hf_5.23.0", "hf_4.57.1", "hf_4.45.0"]

MAX_RATIO = 200
"""Of the longer to the shorter side; exactly 200 passes."""


@dataclass(frozen=True)
class Sides:
    """n sizes in pixels, each side at least 1, and the least and largest area of each."""

    width: Ints
    height: Ints
    low: Floats
    high: Floats

    @property
    def ratio(self) -> Floats:
        """The longer side over the shorter."""
        longer, shorter = np.maximum(self.width, self.height), np.minimum(self.width, self.height)
        return np.asarray(longer / shorter, np.float64)

    def only(self, rows: Bools) -> "Sides":
        """These rows."""
        return Sides(self.width[rows], self.height[rows], self.low[rows], self.high[rows])


def refuse_sides(sides: Sides, smallest: Ints, verdicts: Verdicts) -> None:
    """Drop what `smart_resize` answers with an exception; `smallest` is the least side of each."""
    width, height, low, high = sides.width, sides.height, sides.low, sides.high
    verdicts.refuse(
        high < low,
        Reason.OVER_BUDGET,
        lambda row: f"at most {high[row]:.0f} pixels allowed, at least {low[row]:.0f} asked for",
    )
    verdicts.refuse(
        np.minimum(width, height) < smallest,
        Reason.TOO_SMALL,
        lambda row: f"{width[row]} x {height[row]} pixels; no side under {smallest[row]} is read",
    )
    ratio = sides.ratio
    verdicts.refuse(
        ratio > MAX_RATIO,
        Reason.RATIO_TOO_EXTREME,
        lambda row: f"{width[row]} x {height[row]} pixels: ratio {ratio[row]} is over {MAX_RATIO}",
    )


def refuse_empty(resized: Ints, verdicts: Verdicts) -> None:
    """Drop what cannot be resized: `smart_resize` gives a side of 0, and `fetch_image` raises."""
    verdicts.refuse(
        resized.min(axis=1, initial=1) < 1,
        Reason.EMPTY_TARGET,
        lambda row: f"resizes to {resized[row, 0]} x {resized[row, 1]} pixels",
    )


def smart_resize(sides: Sides, factor: int, variant: Variant) -> Ints:
    """[n, 2] width and height in pixels; a side may be 0 where the reference gives 0."""
    size = [sides.width.astype(np.float64), sides.height.astype(np.float64)]
    area = size[0] * size[1]
    shrink, grow = np.sqrt(area / sides.high), np.sqrt(sides.low / area)
    same = [np.rint(side / factor) * factor for side in size]
    if variant == "qwen_vl_utils":
        same = [np.maximum(side, factor) for side in same]
    less = [np.floor(side / shrink / factor) * factor for side in size]
    if variant in ("hf_5.23.0", "hf_4.57.1"):
        less = [np.maximum(side, factor) for side in less]
    more = [np.ceil(side * grow / factor) * factor for side in size]
    product = same[0] * same[1]
    over, under = product > sides.high, product < sides.low
    chosen = [
        np.where(over, down, np.where(under, up, stay))
        for down, up, stay in zip(less, more, same, strict=True)
    ]
    return np.stack(chosen, axis=1).astype(np.int64)
