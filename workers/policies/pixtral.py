"""Pixtral and Mistral Small 3.1: native resolution up to `longest_edge`, a break after each row.

1. Reduced (never enlarged) to `longest_edge` both ways, then stretched up to whole patches.
2. A row of features, `[IMG_BREAK]`, the next row; `[IMG_END]` after the last.
Trade-off: 480 x 640 costs 1,240 tokens with patches of 16, 437 with 14 merged two by two.
Source: huggingface/transformers 5.23.0 src/transformers/models/pixtral/
{image_processing_pil_pixtral,processing_pixtral}.py.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Ints
from schemas.texts import token
from workers.policies.drawing import drawn
from workers.policies.smaller import three_quarters
from workers.policies.stills import StillPolicy, Views, marked_runs, one_grid, refuse_target
from workers.policies.verdicts import Verdicts
from workers.text_config import Family

_BREAK, _END = token("[IMG_BREAK]"), token("[IMG_END]")


class Pixtral(StillPolicy):
    """Resolution policy of Pixtral and of Mistral's models with its tower."""

    family: ClassVar[Family] = "pixtral"

    kind: Literal["pixtral"] = "pixtral"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    longest_edge: int = Field(default=1024, ge=1, le=16384)
    """Most pixels of a side: 1024 in Pixtral, 1540 in Mistral Small 3.1."""
    patch_size: int = Field(default=16, ge=1, le=256)
    spatial_merge_size: int = Field(default=1, ge=1, le=16)
    """Patches of a side of the block that becomes one token."""

    def views(self, wh: Ints, verdicts: Verdicts) -> Views:
        """One view; every row of features is a run."""
        unit = self.patch_size * self.spatial_merge_size
        ratio = (wh / self.longest_edge).max(axis=1, keepdims=True)
        fitted = np.where(ratio > 1, np.floor(wh / np.maximum(ratio, 1)), wh).astype(np.int64)
        resized = -(-refuse_target(wh, fitted, verdicts) // unit) * unit
        columns, rows = resized.T // unit
        by_rows = np.stack([np.zeros_like(rows), rows], axis=1)
        return Views(
            drawn=drawn(resized),
            grid_thw=one_grid(resized, self.patch_size),
            merge=self.spatial_merge_size,
            layout=marked_runs(rows, columns, by_rows, _texts),
        )

    def smaller(self) -> Self | None:
        """A long side of 3/4, down to 224 pixels."""
        return three_quarters(self, "longest_edge", 224)


def _texts(_: int, rows: int) -> list[str]:
    return ["", *[_BREAK] * (rows - 1), _END]
