"""What a tower takes and gives, as plain numbers: enough to plan without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from patchpack.patches import Normalization

Family = Literal[
    "clip", "siglip", "siglip_native", "siglip2", "internvit", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"
]

ITEM_BYTES = {"bfloat16": 2, "float16": 2, "int8": 1}


@dataclass(frozen=True)
class TowerShape:
    """Side of a patch, and of the pictures where all have one size (else 0); patches along a side
    of the blocks that follow one another in the input; frames of a patch; and of the output the
    patches along a side of what becomes one row, channels of a level, and levels beside one
    another in a row (more than one with the deep features of Qwen3-VL).
    """

    family: Family
    patch_size: int
    image_size: int
    merge: int
    temporal_patch_size: int
    side: int
    channels: int
    levels: int
    normalization: Normalization

    @property
    def width(self) -> int:
        """Channels of a row."""
        return self.channels * self.levels

    def row_bytes(self, stored: str) -> int:
        """Bytes of a row with its scales."""
        return self.width * ITEM_BYTES[stored] + 2 * self.levels * (stored == "int8")

    def rows(self, patches: int) -> int:
        """Rows that so many patches become."""
        return patches // self.side**2

    def misfit(self, grid: tuple[int, int], view_wh: tuple[int, int]) -> str | None:
        """Why a view of this size, planned as `grid` rows and columns of patches, is not what the
        tower takes; None where it is.
        """
        rows, columns = grid
        width, height = view_wh
        fixed = (self.image_size, self.image_size)
        if self.image_size and view_wh != fixed:
            return f"takes pictures of {fixed[0]} x {fixed[1]} pixels, not {width} x {height}"
        if (height // self.patch_size, width // self.patch_size) != (rows, columns):
            size = f"{width} x {height} pixels in {columns} x {rows} patches"
            return f"has patches of {self.patch_size} pixels, the policy cuts {size}"
        block = max(self.merge, self.side)
        if rows % block or columns % block:
            return f"takes blocks of {block} x {block} patches, not {columns} x {rows}"
        return None
