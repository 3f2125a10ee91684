"""LLaVA-UHD: slices of a picture near the encoder's own area and ratio, then an overview.

1. As many slices as the area holds `scale_resolution` squares, rounded up, at most
   `max_slice_nums`; of the grids of that many, one less and one more, the nearest in log ratio.
2. The picture is resized so that each slice has about that area, in whole patches of 14 pixels.
3. Slices come row by row, each followed by "," or, at the end of a row, by a line end; the overview
   is last. A picture of one slice is its overview alone, enlarged to the area.
A resampler makes `queries` tokens of every view: 144 in v1's code, 64 in its paper and in
MiniCPM-V, whose slicing is max_slice_nums = 9, scale_resolution = 448. Trade-off: 1152 tokens at
most and views of any ratio, but 1 x 10000 pixels give an overview of 14 x 33600.
`v3` bounds edges by 5120 pixels; its models are any_res with scale_resolution = 1560, patch_size =
40 (10 in the encoder), single and queries = None: one token for each of the 40 pixel blocks.
The source embeds separators as single ids (29892, 13); here the tokenizer encodes their text.
Source: thunlp/LLaVA-UHD llava/slice_process.py of the branches LLaVA-UHD-v1, -v2 (equal) and main
(v3); llava/model/llava_arch.py (order and separators), train.sh (v3's settings).
"""

from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from schemas.sized import Bools, Ints, Media, Ragged, Sized
from workers.policies import uhd_slices
from workers.policies.drawing import LAST, Thumbnail, drawn
from workers.policies.frames import evenly, pick
from workers.policies.layouts import equal_runs
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.verdicts import check, is_video
from workers.policies.windows import window_boxes
from workers.text_config import Family


class LlavaUHD(BaseModel):
    """Resolution policy of LLaVA-UHD, and of MiniCPM-V's slices."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names()
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "llava"

    kind: Literal["llava_uhd"] = "llava_uhd"
    variant: Literal["v1", "v3"] = "v1"
    """The reference's `slice_image_minicpm` is v3 where `any_res` or `allow_upscale` is given."""
    max_slice_nums: int = Field(default=7, ge=1, le=256)
    scale_resolution: int = Field(default=336, ge=1, le=16384)
    """Pixels: the root of the area of a view."""
    patch_size: int = Field(default=14, ge=1, le=256)
    """Pixels; sides of views are multiples of it."""
    encoder_patch_size: int = Field(default_factory=lambda fields: fields["patch_size"], ge=1)
    queries: PositiveInt | None = 144
    """Tokens of a view; None: one for each `patch_size` block, which needs `single`."""
    any_res: bool = False
    """v3: an overview between 512 x 512 pixels and the area of the view."""
    allow_upscale: bool = True
    """v3: whether an overview alone is enlarged (with `any_res`, by `upscale_ratio`)."""
    upscale_ratio: float = Field(default=1.4, gt=0, le=100)
    single: bool = False
    """v3: no slices, the overview alone."""
    num_frames: int = Field(default=8, ge=1, le=4096)
    """Most frames of a video, each an overview: LLaVA-UHD has no rule for videos."""

    @model_validator(mode="before")
    @classmethod
    def _from_function(cls, fields: Any) -> Any:
        """The reference's name of the function, which both versions have."""
        if not isinstance(fields, dict) or fields.get("variant") != "slice_image_minicpm":
            return fields
        later = {"any_res", "allow_upscale", "upscale_ratio", "single"} & fields.keys()
        return fields | {"variant": "v3" if later else "v1"}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.variant == "v1" and (self.any_res or self.single or not self.allow_upscale):
            raise ValueError("any_res, single and allow_upscale = false belong to variant v3")
        if self.queries is None and not self.single:
            raise ValueError("queries may be left out only with single: views differ in size")
        if self.patch_size % self.encoder_patch_size:
            raise ValueError(f"encoder_patch_size does not divide patch_size {self.patch_size}")
        return self

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """The reference converts to RGB, which drops transparency."""
        return "drop"

    def size(self, media: Media) -> Sized:
        """Slices row by row, then the overview; each frame of a video is an overview."""
        verdicts = check(media)
        picked = pick(media, evenly(self.num_frames), verdicts)
        shown = verdicts.kept
        source = np.where(shown[:, None], media.wh, 1)
        view = uhd_slices.View(self.scale_resolution, self.patch_size, self.variant == "v3")
        grid = uhd_slices.slice_grids(source, self.scale_resolution, self.max_slice_nums)
        grid *= ~is_video(media)[:, None]
        overview = self._overviews(source, grid[:, 0] > 0, view) * shown[:, None]
        grid *= not self.single
        sliced, each = grid[:, 0] > 0, np.zeros_like(source)
        each[sliced] = uhd_slices.slice_views(source[sliced], grid[sliced], view)
        slices, time = grid.prod(axis=1), np.maximum(picked.counts, shown)
        groups, last = slices + shown, self._patches(overview, time)
        thw = Ragged.from_counts(np.repeat(self._patches(each), groups, axis=0), groups)
        thw.values[thw.offsets[1:][shown] - 1] = last[shown]
        tokens = self.queries or (overview // self.patch_size).prod(axis=1)
        merge = 1 if self.queries else self.patch_size // self.encoder_patch_size
        layout = equal_runs(slices + time, tokens, uhd_slices.separators(grid))
        return Sized(
            drawn=drawn(
                np.where(sliced[:, None], grid * each, overview),
                crops=window_boxes(grid, each, each),
                thumbnail=Thumbnail(where=sliced * LAST, wh=overview),
            ),
            layout=layout,
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=thw,
            merge=np.full(len(media), merge),
            llm_tokens=layout.embeddings,
            vit_patches=slices * self._patches(each).prod(axis=1) + last.prod(axis=1),
            kept_patches=Ragged.empty(len(media)),
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """One slice less, then half the frames; without `queries` only that, since a lower
        resolution rounds some sides up.
        """
        if self.queries and self.max_slice_nums > 1:
            return self.model_copy(update={"max_slice_nums": self.max_slice_nums - 1})
        return half_the_frames(self)

    def _overviews(self, source: Ints, sliced: Bools, view: uhd_slices.View) -> Ints:
        """[n, 2] pixels; what is sliced is never enlarged."""
        width, height = source.T.astype(np.float64)
        grow = ~sliced & self.allow_upscale
        if not self.any_res:
            return uhd_slices.at_area(width, height, view, grow)
        upscale = np.where(grow, self.upscale_ratio, 1.0)
        return uhd_slices.at_any_area(width * upscale, height * upscale, view)

    def _patches(self, wh: Ints, time: Ints | int = 1) -> Ints:
        """[n, 3] the encoder's grid of views of these pixels."""
        rows, columns = (wh[:, ::-1] // self.encoder_patch_size).T
        return np.stack([np.broadcast_to(time, rows.shape), rows, columns], axis=1)
