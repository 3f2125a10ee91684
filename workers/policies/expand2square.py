"""The smallest square around a picture, filled with one colour: `expand2square` of LLaVA.

Source: haotian-liu/LLaVA llava/mm_utils.py; the picture lies in the middle, rounded down.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from schemas.sized import Ints
from workers.policies.drawing import Canvas, center_in

_Byte = Annotated[int, Field(ge=0, le=255)]
Rgb = tuple[_Byte, _Byte, _Byte]

CLIP_MEAN = (122, 116, 104)
"""`int(mean * 255)` of CLIP's mean colour."""


def expand2square(picture_wh: Ints, rgb: Rgb) -> Canvas:
    """The square canvas of pictures [n, 2]; a picture that is square already fills it."""
    canvas_wh = np.repeat(picture_wh.max(axis=1)[:, None], 2, axis=1)
    return Canvas(wh=canvas_wh, xy=center_in(canvas_wh, picture_wh), rgb=rgb)
