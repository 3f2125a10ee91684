"""Emu3: Qwen2-VL's rule in blocks of 8 pixels, as rows of codes behind their number in text.

1. Sides rounded to 8, the area within 512 x 512 and 1024 x 1024; a ratio over 200 is refused.
2. The numbers of rows and columns as text, then a code for each block and one to end each row.
Trade-off: 4,124 to 18,104 tokens a picture.
Source: huggingface/transformers 5.23.0 src/transformers/models/emu3/
{image_processing_emu3,processing_emu3}.py.
"""

from dataclasses import replace
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt

from schemas.sized import NEWLINE, Ints
from schemas.texts import token
from workers.policies.layouts import one_run, part
from workers.policies.native import native_view, read_within
from workers.policies.smaller import three_quarters
from workers.policies.stills import StillPolicy, Views, texts_by_grid
from workers.policies.verdicts import Verdicts
from workers.text_config import Family

_START, _IMAGE, _EOF, _END = map(
    token, ("<|image start|>", "<|image token|>", "<|extra_201|>", "<|image end|>")
)


class Emu3(StillPolicy):
    """Resolution policy of Emu3."""

    family: ClassVar[Family] = "llava"

    kind: Literal["emu3"] = "emu3"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    spatial_factor: int = Field(default=8, ge=1, le=256)
    """Pixels of a side of the block that becomes one code."""
    min_pixels: PositiveInt = 512 * 512
    max_pixels: PositiveInt = 1024 * 1024

    def views(self, wh: Ints, verdicts: Verdicts) -> Views:
        """One view."""
        factor, shown = self.spatial_factor, np.ones(len(wh), np.bool_)
        resized = read_within(wh, factor, (self.min_pixels, self.max_pixels), verdicts)
        grid = resized // factor
        layout = one_run(shown, [part(shown, grid[:, 1], grid[:, 0], NEWLINE)])
        layout = replace(layout, texts=texts_by_grid(grid, _texts))
        return native_view(resized, factor, 1, layout)

    def smaller(self) -> Self | None:
        """An area of 3/4, down to the least."""
        return three_quarters(self, "max_pixels", self.min_pixels)


def _texts(columns: int, rows: int) -> list[str]:
    return [f"{_START}{rows}*{columns}{_IMAGE}", _EOF + _END]
