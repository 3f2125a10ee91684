"""NVLM-D 1.0: InternVL's tiles, each after a tag in text that tells the model where it lies.

1. Grid: as InternVL by aspect ratio (`ratio`); or (`area`) the most of (the share of the picture's
   pixels that it holds, at most 0.6) x (how well the aspect ratios agree).
2. Resize to the grid, cut row by row; the thumbnail of several tiles is last.
3. Of n views the first n - 1 follow `<tile_1>`, `<tile_2>`, ..., the last
   `<tile_global_thumbnail>`, even where it is none; `<Image>` and `</Image>` stand around all.
A video is one run of untiled frames, as in Megatron's video script (`--image-tag-type internvl`).
Tags are 5 tokens in Qwen2's and Yi's vocabulary: 261 a view, 1827 for 6 tiles and the thumbnail.
Sources: NVIDIA/Megatron-LM examples/multimodal/image_processing.py (`dynamic_preprocess`), model.py
(`_get_tile_tags`), dataset_helpers.py (frames, `num_tiles_degradation_map`).
"""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from schemas.sized import Ints, Media, Ragged, Sized, Texts
from workers.policies import tiles
from workers.policies.frames import evenly, pick
from workers.policies.grids import square_views
from workers.policies.layouts import equal_runs, texts_by
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.verdicts import check, is_video
from workers.text_config import Family

MERGE = 2
"""Side of the block of patches that the pixel shuffle makes one token."""
STEPS = (8, 6, 4, 2, 1)
"""Numbers of tiles that Megatron falls back to when a sample is too long."""
_VIDEO = -1
"""Stands for a video among numbers of views."""


class NVLMD(BaseModel):
    """Resolution policy of NVLM-D 1.0."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(
        aliases={"max_dynamic_patch": "max_num", "max_num_tiles": "max_num"}
    )
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "nvlm_d"

    kind: Literal["nvlm_d"] = "nvlm_d"
    variant: Literal["nvlm_d"] = "nvlm_d"
    min_num: PositiveInt = 1
    """Fewest tiles of a picture."""
    max_num: int = Field(default=6, ge=1, le=12)
    """Most tiles of a sample's pictures together, but at least one each; there are 12 tags."""
    image_size: int = Field(default=448, ge=1, le=16384)
    """Pixels of a tile's side."""
    patch_size: int = Field(default=14, ge=1, le=256)
    use_thumbnail: bool = True
    closest: Literal["ratio", "area"] = "ratio"
    """Megatron's `--use-area-weighted-aspect-ratio` is `area`; NVLM 1.0 was trained by `ratio`."""
    num_frames: int = Field(default=32, ge=1, le=4096)
    """Most frames of a video."""
    tags: Literal["qwen2", "yi", "nemotron", "llama3p1", "huggingface"] = "qwen2"
    """The vocabulary that Megatron words the tags for, or those of the published model's code."""
    tag_tiles: int = Field(default_factory=lambda fields: fields["max_num"], ge=1, le=12)
    """Tiles that the model was built for: from 10 on, Megatron's tags have two digits."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_num < self.min_num:
            raise ValueError(f"max_num {self.max_num} < min_num {self.min_num}")
        if self.image_size % (self.patch_size * MERGE):
            raise ValueError(f"image_size {self.image_size} is no whole number of merged patches")
        return self

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """The reference converts to RGB, which drops transparency."""
        return "drop"

    def size(self, media: Media) -> Sized:
        """Each view of a picture is a run of its own; the frames of a video are one."""
        verdicts = check(media)
        picked = pick(media, evenly(self.num_frames), verdicts)
        most = np.maximum(1, self.max_num // np.maximum(media.images, 1))
        most[is_video(media)] = 1
        grid = tiles.grids_within(media, most, verdicts.kept, self._grids)
        pictures, views = tiles.tiled(grid, self.image_size, self.use_thumbnail)
        side = self.image_size // self.patch_size
        time = np.maximum(picked.counts, 1)
        texts = self._texts(np.where(picked.counts > 0, _VIDEO, views))
        layout = equal_runs(views, time * (side // MERGE) ** 2, texts)
        return Sized(
            drawn=pictures,
            layout=layout,
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=square_views(views, side, time),
            merge=np.full(len(media), MERGE),
            llm_tokens=layout.embeddings,
            vit_patches=views * time * side**2,
            kept_patches=Ragged.empty(len(media)),
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """Fewer tiles in Megatron's steps, their tags as they were; then half the frames."""
        fewer = next((step for step in STEPS if step < self.max_num), 0)
        if fewer >= self.min_num:
            return self.model_copy(update={"max_num": fewer, "tag_tiles": self.tag_tiles})
        return half_the_frames(self)

    def _grids(self, size_wh: tuple[Ints, Ints], most: int) -> Ints:
        rule = tiles.nearest_grid if self.closest == "ratio" else tiles.weighted_grid
        return rule(size_wh, tiles.candidate_grids(self.min_num, most), self.image_size)

    def _texts(self, views: Ints) -> Texts:
        """By numbers of views; none for a refused medium, which has 0."""
        numbers = [number for number in np.unique(views).tolist() if number > 0]
        written = {number: self._tags(number) for number in numbers}
        return texts_by(views, {**written, _VIDEO: ("<img>", "</img>")})

    def _tags(self, views: int) -> tuple[str, ...]:
        many = self.tag_tiles >= 10 and self.tags != "huggingface"
        digits = 2 if many or self.tags == "nemotron" else 1
        last = "tile_global" if self.tags == "yi" else "tile_global_thumbnail"
        last += "0" if many and self.tags in ("qwen2", "yi") else ""
        names = [*(f"tile_{number:0{digits}d}" for number in range(1, views)), last]
        return (f"<Image><{names[0]}>", *(f"<{name}>" for name in names[1:]), "</Image>")
