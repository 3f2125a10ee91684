"""`smart_resize` of the Qwen-VL family for columns of sizes: multiples of a factor, area in bounds.

The variants differ only for extreme shapes: where a side rounds to 0 and where the cap does.
Sources: QwenLM/Qwen2-VL and QwenLM/Qwen3-VL qwen-vl-utils/src/qwen_vl_utils/vision_process.py;
huggingface/transformers src/transformers/models/qwen2_vl/image_processing_qwen2_vl.py of 4.45.0,
4.57.1 and 5.23.0, models/qwen3_vl/video_processing_qwen3_vl.py of the latter two. Doubles, in the
reference's order of operations: (side / beta) / factor.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from schemas.reasons import Reason
from schemas.sized import Bools, Floats, Ints
from workers.policies.verdicts import Verdicts

Variant = Literal["qwen_vl_utils", "hf_5.23.0", "hf_4.57.1", "hf_4.45.0"]
Rounding = Variant | Literal["qwen_vl_utils_0.0.11"]
"""0.0.11 alone keeps every side at the factor or over it, after rounding and after the cap."""

_ROUNDED = ("qwen_vl_utils", "qwen_vl_utils_0.0.11")
_SCALED = ("hf_5.23.0", "hf_4.57.1", "qwen_vl_utils_0.0.11")
"""Those that keep a side at the factor or over it: after rounding, and after the cap."""

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
    refuse_ratio(sides, np.ones(len(width), np.bool_), verdicts)


def refuse_ratio(sides: Sides, rows: Bools, verdicts: Verdicts) -> None:
    """Drop the shapes among these rows that are too narrow."""
    width, height, ratio = sides.width, sides.height, sides.ratio
    verdicts.refuse(
        rows & (ratio > MAX_RATIO),
        Reason.RATIO_TOO_EXTREME,
        lambda row: f"{width[row]} x {height[row]} pixels: ratio {ratio[row]} is over {MAX_RATIO}",
    )


def refuse_empty(resized: Ints, verdicts: Verdicts) -> None:
    """Drop what cannot be resized: `smart_resize` gives a side of 0, and `fetch_image` raises."""
    verdicts.refuse(
        (resized[:, 0] < 1) | (resized[:, 1] < 1),
        Reason.EMPTY_TARGET,
        lambda row: f"resizes to {resized[row, 0]} x {resized[row, 1]} pixels",
    )


def enlarged(sides: Sides, factor: int) -> Sides:
    """Both sides times the same until neither is under the factor: Qwen3-VL's videos in 5.23.0."""
    small = np.minimum(sides.width, sides.height) < factor
    scale = np.maximum(factor / sides.height, factor / sides.width)
    width, height = (
        np.where(small, (side * scale).astype(np.int64), side)
        for side in (sides.width, sides.height)
    )
    return Sides(width, height, sides.low, sides.high)


def smart_resize(sides: Sides, factor: int, rounding: Rounding) -> Ints:
    """[n, 2] width and height in pixels; a side may be 0 where the reference gives 0."""
    return _resized(sides, factor, rounding, (1.0, 1.0))


def smart_resize_whole(sides: Sides, factor: int, frames: Ints, step: int) -> Ints:
    """The same for videos whose bounds hold for all frames together, as Qwen3-VL's processor does.

    The reference compares the bounds with frames rounded to a multiple of `step`, and scales with
    their number itself.
    """
    counts = frames.astype(np.float64)
    return _resized(sides, factor, "hf_5.23.0", (counts, np.rint(counts / step) * step))


def _resized(
    sides: Sides, factor: int, rounding: Rounding, frames: tuple[Floats | float, Floats | float]
) -> Ints:
    """`frames`: how often the area counts when it is scaled, and when it is compared."""
    size = [sides.width.astype(np.float64), sides.height.astype(np.float64)]
    area = frames[0] * size[1] * size[0]
    least, least_scaled = (factor * (rounding in kept) for kept in (_ROUNDED, _SCALED))
    resized = [np.maximum(np.rint(side / factor) * factor, least) for side in size]
    product = frames[1] * resized[0] * resized[1]
    over = np.flatnonzero(product > sides.high)
    under = np.flatnonzero((product < sides.low) & (product <= sides.high))
    shrink = np.sqrt(area[over] / sides.high[over])
    grow = np.sqrt(sides.low[under] / area[under])
    for side, result in zip(size, resized, strict=True):
        less = np.floor(side[over] / shrink / factor) * factor
        result[over] = np.maximum(less, least_scaled)
        result[under] = np.ceil(side[under] * grow / factor) * factor
    return np.stack(resized).astype(np.int64).T


def with_patch_size(fields: Any, merge_size: int) -> Any:
    """Settings with `patch_size` in place of the reference's `factor`, patch x merge in pixels."""
    if not isinstance(fields, dict) or "factor" not in fields:
        return fields
    factor, rest = fields["factor"], {k: v for k, v in fields.items() if k != "factor"}
    merge = rest.get("merge_size", merge_size)
    whole = isinstance(factor, int) and isinstance(merge, int) and merge > 0
    patch = rest.setdefault("patch_size", factor // merge if whole else factor)
    if not whole or patch * merge != factor:
        raise ValueError(f"factor {factor!r} is not patch_size {patch} x merge_size {merge}")
    return rest
