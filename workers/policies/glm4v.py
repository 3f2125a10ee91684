"""GLM-4V, 4.1V, 4.5V and 4.6V: Qwen2-VL's rule with a picture counted as two frames.

1. A side under 28 pixels: both are scaled up together, and truncated.
2. A ratio over 200 is refused; sides are rounded to 28; twice the area lies within the two bounds.
Trade-off: 8 to 7,500 tokens a picture by the published bounds.
Source: huggingface/transformers 5.23.0 src/transformers/models/glm4v/image_processing_pil_glm4v.py
(`smart_resize`); models/glm46v/ is the same.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt

from schemas.sized import Ints
from workers.policies.native import bounded, native_view
from workers.policies.smaller import three_quarters
from workers.policies.smart_resize import enlarged, refuse_ratio, smart_resize_whole
from workers.policies.stills import StillPolicy, Views, refuse_target
from workers.policies.verdicts import Verdicts
from workers.text_config import Family


class Glm4v(StillPolicy):
    """Resolution policy of the GLM-V family."""

    positions: ClassVar[str] = "mrope/max_thw"
    family: ClassVar[Family] = "glm4v"

    kind: Literal["glm4v"] = "glm4v"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    patch_size: int = Field(default=14, ge=1, le=256)
    merge_size: int = Field(default=2, ge=1, le=16)
    shortest_edge: PositiveInt = 112 * 112
    """Least area, of two frames."""
    longest_edge: PositiveInt = 28 * 28 * 15000
    """Largest area, of two frames."""

    def views(self, wh: Ints, verdicts: Verdicts) -> Views:
        """One view."""
        factor = self.patch_size * self.merge_size
        sides = enlarged(bounded(wh, self.shortest_edge, self.longest_edge), factor)
        refuse_ratio(sides, verdicts.kept, verdicts)
        resized = smart_resize_whole(sides, factor, np.full(len(wh), 2), 2)
        return native_view(refuse_target(wh, resized, verdicts), self.patch_size, self.merge_size)

    def smaller(self) -> Self | None:
        """An area of 3/4, down to the least."""
        return three_quarters(self, "longest_edge", self.shortest_edge)
