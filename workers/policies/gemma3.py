"""Gemma 3: every view stretched to one square; pan and scan adds crops of long pictures.

1. Without pan and scan, the default, one view whatever the ratio.
2. With it, a picture of a ratio from 1.2 on is cut along its long side: round(ratio) crops, at
   least 2, at most `pan_and_scan_max_num_crops`, none under `pan_and_scan_min_crop_size` pixels.
3. The whole picture first, then the crops, each between words that tell which is which.
Trade-off: 256 tokens a view; without crops a page is read at 896 x 896.
Source: huggingface/transformers 5.23.0 src/transformers/models/gemma3/
{image_processing_pil_gemma3,processing_gemma3}.py.
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from schemas.sized import Ints, Ragged
from workers.policies.drawing import FIRST, Thumbnail, drawn, square
from workers.policies.grids import square_views
from workers.policies.stills import StillPolicy, Views, marked_runs
from workers.policies.verdicts import Verdicts
from workers.text_config import Family


class Gemma3(StillPolicy):
    """Resolution policy of Gemma 3."""

    family: ClassVar[Family] = "gemma3"

    kind: Literal["gemma3"] = "gemma3"
    variant: Literal["hf_5.23.0"] = "hf_5.23.0"
    image_size: int = Field(default=896, ge=14, le=4096)
    """Pixels of a view's side."""
    patch_size: int = Field(default=14, ge=1, le=256)
    image_seq_length: int = Field(default=256, ge=1, le=65536)
    """Tokens that the patches of a view are pooled to."""
    do_pan_and_scan: bool = False
    """Whether long pictures are cut."""
    pan_and_scan_min_crop_size: int = Field(default=256, ge=1, le=65536)
    """Least pixels of a crop's side."""
    pan_and_scan_max_num_crops: int = Field(default=4, ge=2, le=64)
    """Most crops."""
    pan_and_scan_min_ratio_to_activate: float = Field(default=1.2, ge=1, le=1000)
    """Of the longer to the shorter side."""

    def views(self, wh: Ints, _: Verdicts) -> Views:
        """The whole and the crops, each a run."""
        side, crops = self.image_size, self._crops(wh)
        cut = crops.counts > 0
        pieces = np.tile(np.array([side, side, 0, 0, side, side]), (len(crops.values), 1))
        views = crops.counts + 1
        by_views = np.stack([np.zeros_like(views), views], axis=1)
        return Views(
            drawn=drawn(
                np.where(cut[:, None], wh, side),
                crops=crops,
                pieces=Ragged(pieces, crops.offsets),
                thumbnail=Thumbnail(where=cut * FIRST, wh=square(side, cut)),
                resample="bilinear",
            ),
            grid_thw=square_views(views, side // self.patch_size),
            merge=1,
            layout=marked_runs(views, self.image_seq_length, by_views, _texts),
        )

    def smaller(self) -> Self | None:
        """One crop less, then none."""
        if not self.do_pan_and_scan:
            return None
        if self.pan_and_scan_max_num_crops > 2:
            fewer = {"pan_and_scan_max_num_crops": self.pan_and_scan_max_num_crops - 1}
            return self.model_copy(update=fewer)
        return self.model_copy(update={"do_pan_and_scan": False})

    def _crops(self, wh: Ints) -> Ragged:
        """Boxes on the picture; none of most."""
        least, portrait = self.pan_and_scan_min_crop_size, (wh[:, 0] < wh[:, 1])[:, None]
        long, short = np.where(portrait, wh[:, ::-1], wh).T
        count = np.minimum(long // least, np.floor(long / short + 0.5).astype(np.int64))
        count = np.clip(count, 2, self.pan_and_scan_max_num_crops)
        step = -(-long // count)
        active = (long / short >= self.pan_and_scan_min_ratio_to_activate) & self.do_pan_and_scan
        count = np.where(active & (np.minimum(step, short) >= least), count, 0)
        first = np.cumsum(count) - count
        start = (np.arange(count.sum()) - np.repeat(first, count)) * np.repeat(step, count)
        end = np.minimum(start + np.repeat(step, count), np.repeat(long, count))
        across = np.repeat(short, count)
        lying = np.stack([start, np.zeros_like(start), end, across], axis=1)
        turned = lying[:, [1, 0, 3, 2]]
        return Ragged.from_counts(
            np.where(np.repeat(portrait, count, axis=0), turned, lying), count
        )


def _texts(_: int, views: int) -> list[str]:
    if views == 1:
        return ["\n\n", "\n\n"]
    first = "Here is the original image \n\n"
    second = "\n\n and here are some crops to help you see better \n\n"
    return [first, second, *["\n\n \n\n"] * (views - 2), "\n\n"]
