"""InternVL 1.5 / 2 / 2.5: the grid of 448-pixel tiles nearest in aspect ratio, and a thumbnail.

1. Candidates: all (columns, rows) of min_num to max_num tiles, by ascending (area, columns).
2. The least |width / height - columns / rows|, linear, so biased to wide grids; on an exact tie the
   larger grid, if the picture has more than half of its pixels. So 640 x 480 becomes 4 x 3 tiles.
3. Resize to the grid whatever the aspect ratio, cut row by row; the thumbnail of several is last.
A frame of a video is a picture of `video_max_num` tiles between its own start and end token.
Sources: OpenGVLab/InternVL internvl_chat/internvl/train/dataset.py (`dynamic_preprocess`,
`find_closest_aspect_ratio`), internvl_chat/README.md (`get_index`, `load_video`).
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from schemas.sized import Ints, Media, Ragged, Sized
from workers.policies import internvl_frames
from workers.policies.frames import Picked
from workers.policies.grids import square_views
from workers.policies.internvl_middles import pick_middles
from workers.policies.layouts import equal_runs
from workers.policies.protocol import Names
from workers.policies.tiles import candidate_grids, grids_within, nearest_grid, tiled
from workers.policies.verdicts import Verdicts, check, is_video
from workers.text_config import Family


class InternVL(BaseModel):
    """Resolution policy of InternVL 1.5, 2 and 2.5."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(
        aliases={"max_dynamic_patch": "max_num", "sampling_method": "sampling"},
        video_aliases={"max_num": "video_max_num"},
    )
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "internvl"

    kind: Literal["internvl"] = "internvl"
    variant: Literal["internvl_chat"] = "internvl_chat"
    min_num: PositiveInt = 1
    """Fewest tiles of a picture."""
    max_num: int = Field(default=12, ge=1, le=1024)
    """Most tiles of a sample's pictures together, but at least one each: 12 to train 1.5, 6 to
    fine-tune 2 and 2.5, 24 or 40 for inference."""
    image_size: int = Field(default=448, ge=1, le=16384)
    """Pixels of a tile's side."""
    patch_size: int = Field(default=14, ge=1, le=256)
    downsample_ratio: float = Field(default=0.5, gt=0, le=1)
    use_thumbnail: bool = True
    video_max_num: int = Field(default=1, ge=1, le=1024)
    """Most tiles of a frame."""
    num_segments: int = Field(default=32, ge=1, le=4096)
    """Frames of a video in evaluation: the default of `load_video`."""
    num_frames: int | None = Field(default=None, ge=1, le=4096)
    """Frames of `middle` and `rand`; drawn between the next two, if not given."""
    min_num_frame: int = Field(default=8, ge=1, le=4096)
    max_num_frame: int = Field(default=32, ge=1, le=4096)
    sample_fps: float | None = Field(default=None, ge=1e-6, le=1000)
    """Frames a second of `fps`."""
    max_num_frames: int = Field(default=-1, ge=-1, le=internvl_frames.MOST)
    """Most frames of `fps`, which cuts off the end; no limit at -1 and 0."""
    sampling: internvl_frames.Sampling = Field(default_factory=internvl_frames.sampling_of)
    """`segments` is evaluation's; the others, training's, are in internvl_frames.py."""
    seed: int = 0
    """Of what training draws."""
    frame_name: Literal["Frame", "Frame-"] = "Frame"
    """Before the number of a frame: `Frame1: ` in the README, `Frame-1: ` in training."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_num < self.min_num:
            raise ValueError(f"max_num {self.max_num} < min_num {self.min_num}")
        if self.max_num_frame < self.min_num_frame:
            raise ValueError(f"max_num_frame {self.max_num_frame} < {self.min_num_frame}")
        if self.sampling == "fps" and self.sample_fps is None:
            raise ValueError("sampling fps needs sample_fps")
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
        picked = self._frames(media, verdicts)
        most = np.maximum(1, self.max_num // np.maximum(media.images, 1))
        most = np.where(is_video(media), self.video_max_num, most)
        grid = grids_within(media, most, verdicts.kept, self._grids)
        pictures, tiles = tiled(grid, self.image_size, self.use_thumbnail)
        runs = np.maximum(picked.counts, verdicts.kept)
        views = tiles * runs
        side = self.image_size // self.patch_size
        names = internvl_frames.names(picked.counts, self.frame_name)
        layout = equal_runs(runs, tiles * (side // self.merge) ** 2, names)
        return Sized(
            drawn=pictures,
            layout=layout,
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=square_views(views, side),
            merge=np.full(len(media), self.merge),
            llm_tokens=layout.embeddings + 2 * runs,
            vit_patches=views * side**2,
            kept_patches=Ragged.empty(len(media)),
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
        update = internvl_frames.fewer(self.sampling, self.model_dump())
        return self.model_copy(update=update) if update else None

    def _frames(self, media: Media, verdicts: Verdicts) -> Picked:
        if self.sampling == "segments":
            return pick_middles(media, self.num_segments, verdicts)
        least, most = self.min_num_frame, self.max_num_frame
        training = internvl_frames.Training(
            sampling=self.sampling,
            counts=(self.num_frames or least, self.num_frames or most),
            rate=self.sample_fps or 1.0,
            limit=self.max_num_frames,
            seed=self.seed,
        )
        return training.pick(media, verdicts)

    def _grids(self, size_wh: tuple[Ints, Ints], most: int) -> Ints:
        return nearest_grid(size_wh, candidate_grids(self.min_num, most), self.image_size)
