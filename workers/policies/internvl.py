"""InternVL 1.5 / 2 / 2.5: the grid of 448-pixel tiles nearest in aspect ratio, and a thumbnail.

1. Candidates: all (columns, rows) of min_num to max_num tiles, by ascending (area, columns).
2. The least |width / height - columns / rows|, linear, so biased to wide grids; on an exact tie the
   larger grid, if the picture has more than half of its pixels. So 640 x 480 becomes 4 x 3 tiles.
3. Resize to the grid whatever the aspect ratio, cut row by row; the thumbnail of several is last.
A frame of a video is a picture of `video_max_num` tiles between its own start and end token.
Sources: OpenGVLab/InternVL internvl_chat/internvl/train/dataset.py (`dynamic_preprocess`,
`find_closest_aspect_ratio`), internvl_chat/README.md (`get_index`, `load_video`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from schemas.sized import Ints, Media, Ragged, Sized
from workers.policies.frames import pick_middles
from workers.policies.tiles import candidate_grids, nearest_grid, tile_boxes
from workers.policies.verdicts import Verdicts, check, is_video


class InternVL(BaseModel):
    """Resolution policy of InternVL 1.5, 2 and 2.5."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    ALIASES: ClassVar[Mapping[str, str]] = MappingProxyType({"max_dynamic_patch": "max_num"})
    VIDEO_ALIASES: ClassVar[Mapping[str, str]] = MappingProxyType({"max_num": "video_max_num"})
    positions: ClassVar[str] = "1d"
    frame_prefix: ClassVar[str] = "Frame{i}: "
    frame_suffix: ClassVar[str] = "\n"

    kind: Literal["internvl"] = "internvl"
    variant: Literal["internvl_chat"] = "internvl_chat"
    min_num: PositiveInt = 1
    """Fewest tiles of a picture."""
    max_num: int = Field(default=12, ge=1, le=1024)
    """Most tiles of a sample's pictures together, but at least one each."""
    image_size: int = Field(default=448, ge=1, le=16384)
    """Pixels of a tile's side."""
    patch_size: int = Field(default=14, ge=1, le=256)
    downsample_ratio: float = Field(default=0.5, gt=0, le=1)
    use_thumbnail: bool = True
    num_segments: int = Field(default=32, ge=1, le=4096)
    """Frames of a video: the default of `load_video`, and the most that training draws."""
    video_max_num: int = Field(default=1, ge=1, le=1024)
    """Most tiles of a frame."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_num < self.min_num:
            raise ValueError(f"max_num {self.max_num} < min_num {self.min_num}")
        if self.merge * self.downsample_ratio != 1:
            raise ValueError(f"downsample_ratio {self.downsample_ratio} is not 1 / a whole number")
        if self.image_size % (self.patch_size * self.merge):
            raise ValueError(f"image_size {self.image_size} is no whole number of merged patches")
        return self

    @property
    def merge(self) -> int:
        """Side of the block of patches that the pixel shuffle makes one LLM token."""
        return round(1 / self.downsample_ratio)

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """The reference converts to RGB, which drops transparency."""
        return "drop"

    def size(self, media: Media) -> Sized:
        """Tiles, row by row, then the thumbnail; `crops_ltrb` holds for every frame of a video."""
        verdicts = check(media)
        picked = pick_middles(media, self.num_segments, verdicts)
        shown = verdicts.kept.astype(np.int64)
        grid = self._grids(media, verdicts)
        tiles = grid.prod(axis=1)
        thumbnail = (tiles > 1) & self.use_thumbnail
        runs = np.maximum(picked.counts, shown)
        views = (tiles + thumbnail) * runs
        side = self.image_size // self.patch_size
        one = np.array([1, side, side], np.int64)
        none = np.zeros_like(grid)
        resized = grid * self.image_size
        tokens = views * (side // self.merge) ** 2
        return Sized(
            resized_wh=resized,
            canvas_wh=resized,
            paste_xy=none,
            pad_rgb=np.zeros((len(media), 3), np.int64),
            crops_ltrb=tile_boxes(grid, self.image_size),
            thumbnail=thumbnail * 2,
            thumbnail_wh=np.repeat(thumbnail[:, None] * self.image_size, 2, axis=1),
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=Ragged.from_counts(np.broadcast_to(one, (int(views.sum()), 3)), views),
            merge=self.merge,
            runs=runs,
            vision_tokens=tokens,
            llm_tokens=tokens + 2 * runs,
            vit_patches=views * side**2,
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """One tile less, then half the frames."""
        if self.max_num > self.min_num:
            return self.model_copy(update={"max_num": self.max_num - 1})
        if self.video_max_num > 1:
            return self.model_copy(update={"video_max_num": self.video_max_num - 1})
        if self.num_segments > 4:
            return self.model_copy(update={"num_segments": max(self.num_segments // 2, 4)})
        return None

    def _grids(self, media: Media, verdicts: Verdicts) -> Ints:
        """[n, 2] columns and rows; zeros for a refused row."""
        grid = np.zeros((len(media), 2), np.int64)
        most = np.maximum(1, self.max_num // np.maximum(media.images, 1))
        most = np.where(is_video(media), self.video_max_num, most)
        for limit in np.unique(most).tolist():
            rows = np.flatnonzero((most == limit) & verdicts.kept)
            candidates = candidate_grids(self.min_num, limit)
            size = (media.width[rows], media.height[rows])
            grid[rows] = nearest_grid(size, candidates, self.image_size)
        return grid
