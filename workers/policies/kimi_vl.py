"""Kimi-VL: native resolution up to `in_token_limit` patches, padded (or cut) to blocks of 28.

1. Reduced where its whole patches exceed the limit, before padding: narrow ones may exceed it.
2. `pad_input`: black to the right and below; else the middle is cut, and a side under 28 vanishes.
3. A side of 512 patches or more has no position embedding and is refused.
Trade-off: as of Kimi K2.5, up to about 1,024 tokens.
Source: Blaizzy/mlx-vlm mlx_vlm/models/kimi_vl/processing_kimi_vl.py, a port of the checkpoint's own
code, which is not at hand.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.reasons import Reason
from schemas.sized import Ints
from workers.policies.kimi_views import kimi_views
from workers.policies.smaller import three_quarters
from workers.policies.stills import StillPolicy, Views, refuse_target
from workers.policies.verdicts import Verdicts
from workers.text_config import Family

_MOST = 512
"""Patches of a side, of which there are fewer."""


class KimiVL(StillPolicy):
    """Resolution policy of Kimi-VL."""

    family: ClassVar[Family] = "kimi"

    kind: Literal["kimi_vl"] = "kimi_vl"
    variant: Literal["mlx_vlm_port"] = "mlx_vlm_port"
    patch_size: int = Field(default=14, ge=1, le=256)
    merge_size: int = Field(default=2, ge=1, le=16)
    in_token_limit: int = Field(default=4096, ge=4, le=1 << 20)
    """Most patches of a picture before padding."""
    pad_input: bool = True
    """Off: the picture is cut to blocks."""

    def views(self, wh: Ints, verdicts: Verdicts) -> Views:
        """One view."""
        unit, most = self.patch_size * self.merge_size, self.in_token_limit
        patches = (wh // self.patch_size).prod(axis=1)
        scale = np.sqrt(most / np.maximum(patches, 1))[:, None]
        resized = np.where((patches > most)[:, None], np.trunc(wh * scale), wh).astype(np.int64)
        final = (-(-resized // unit) if self.pad_input else resized // unit) * unit
        verdicts.refuse(
            final.max(axis=1) // self.patch_size >= _MOST,
            Reason.OVER_BUDGET,
            lambda row: (
                f"{final[row, 0]} x {final[row, 1]} pixels: fewer than {_MOST} patches a side"
            ),
        )
        refuse_target(wh, final, verdicts)
        return kimi_views(
            np.maximum(resized, unit * (not self.pad_input)),
            self.patch_size,
            self.merge_size,
            self.pad_input,
        )

    def smaller(self) -> Self | None:
        """3/4 of the patches, down to 256."""
        return three_quarters(self, "in_token_limit", 256)
