"""InternLM-XComposer2-4KHD and 2.5: as many tiles as `hd_num` allows, behind a global view.

1. A portrait is turned on its side, and back at the end.
2. The largest `s` with `s * ceil(s / ratio) <= hd_num`; `Image_transform` goes no further than the
   next tile, `R560_HD18` than 1.5 times the width, the others enlarge.
3. Resize to `s` tiles of width, pad the height to whole tiles in white: below (`Image_transform`),
   or above and below.
4. The model itself shrinks the canvas to a global view, and writes it first, then a separator and
   the rows of the stitched tiles, each row of features with a newline.
A frame of a video is a picture of one tile. The published code glues the frames into one sheet
with drawn labels, which needs pixels and a font; so this is our choice.
Trade-off: 480 x 640 costs 2061 tokens; a page of A4 is read at 2240 x 2800 and costs 8521.
Sources: InternLM/InternLM-XComposer InternLM-XComposer-2.0/{finetune/ixc_utils,
examples/gradio_4khd_chat}.py, InternLM-XComposer-2.5-OmniLive/.../base/{ixc_utils,build_mlp}.py.
"""

from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from schemas.reasons import Reason
from schemas.sized import Bools, Drawn, Ints, Media, Ragged, Sized
from workers.policies.drawing import FIRST, Canvas, Thumbnail, drawn, square
from workers.policies.frames import evenly, pick
from workers.policies.grids import square_views
from workers.policies.layouts import global_then_tiles
from workers.policies.protocol import Names
from workers.policies.smaller import half_the_frames
from workers.policies.tiles import tile_boxes
from workers.policies.verdicts import Verdicts, check, is_video
from workers.text_config import Family

Variant = Literal["Image_transform", "HD_transform", "R560_HD18", "R560_HD4"]

_HD_NUM = {"Image_transform": 25, "HD_transform": 16, "R560_HD18": 18, "R560_HD4": 4}
_PATCH, _MERGE = 14, 2
_WHITE = (255, 255, 255)


def _published(fields: dict[str, Any]) -> int:
    return _HD_NUM[fields["variant"]]


class XComposerHD(BaseModel):
    """Resolution policy of InternLM-XComposer2-4KHD and InternLM-XComposer-2.5."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names(aliases={"num_frm": "num_frames"}, derived=("tile",))
    positions: ClassVar[str] = "1d"
    family: ClassVar[Family] = "xcomposer"

    kind: Literal["xcomposer_hd"] = "xcomposer_hd"
    variant: Variant = "Image_transform"
    hd_num: int = Field(default_factory=_published, ge=1, le=256)
    """Most tiles of a picture; the variant's own by default."""
    num_frames: int = Field(default=32, ge=1, le=4096)
    """Most frames of a video."""

    @property
    def tile(self) -> int:
        """Pixels of a tile's side."""
        return 336 if self.variant == "HD_transform" else 560

    @property
    def alpha(self) -> Literal["drop", "white"]:
        """The reference converts to RGB, which drops transparency."""
        return "drop"

    def size(self, media: Media) -> Sized:
        """The model's own global view and the tiles, row by row; a run for each frame."""
        verdicts = check(media)
        picked = pick(media, evenly(self.num_frames), verdicts)
        made = self._draw(media, verdicts)
        picked = picked.only(verdicts.kept)
        grid = made.canvas_wh // self.tile
        runs = np.maximum(picked.counts, verdicts.kept)
        views = (1 + grid.prod(axis=1)) * runs
        patches = self.tile // _PATCH
        layout = global_then_tiles(runs, patches // _MERGE, grid)
        return Sized(
            drawn=made,
            layout=layout,
            frame_indices=picked.indices,
            seconds_per_grid=picked.seconds,
            grid_thw=square_views(views, patches),
            merge=np.full(len(media), _MERGE),
            llm_tokens=layout.embeddings,
            vit_patches=views * patches**2,
            kept_patches=Ragged.empty(len(media)),
            variant=self.variant,
            drop=verdicts.drop,
            message=verdicts.message,
        )

    def smaller(self) -> Self | None:
        """One tile less, then half the frames."""
        if self.hd_num > 1:
            return self.model_copy(update={"hd_num": self.hd_num - 1})
        return half_the_frames(self)

    def _draw(self, media: Media, verdicts: Verdicts) -> Drawn:
        """Drawn lying on the long side, then turned upright; refuses a height of 0 pixels."""
        portrait = media.width < media.height
        long = np.where(verdicts.kept, np.maximum(media.width, media.height), 1)
        short = np.where(verdicts.kept, np.minimum(media.width, media.height), 1)
        across = self._scale(long, short, np.where(is_video(media), 1, self.hd_num)) * self.tile
        down = np.trunc(across / (long / short)).astype(np.int64)
        verdicts.refuse(
            down < 1,
            Reason.EMPTY_TARGET,
            lambda row: (
                f"{media.width[row]} x {media.height[row]} pixels resize to "
                f"{across[row]} x {down[row]} along the long side"
            ),
        )
        shown = verdicts.kept
        padding = -down % self.tile
        above = padding * 0 if self.variant == "Image_transform" else padding // 2
        flat = [(across, down), (across, down + padding), (0 * above, above)]
        resized, canvas, paste = (_upright(pair, portrait) * shown[:, None] for pair in flat)
        made = drawn(
            resized,
            canvas=Canvas(wh=canvas, xy=paste, rgb=_WHITE),
            crops=tile_boxes(canvas // self.tile, self.tile),
            thumbnail=Thumbnail(where=shown * FIRST, wh=square(self.tile, shown), of="model"),
            resample="bilinear",
        )
        return replace(made, transposed=portrait & shown)

    def _scale(self, long: Ints, short: Ints, most: Ints) -> Ints:
        """[n] tiles along the long side."""
        ratio = long / short
        scale = np.zeros(len(long), np.int64)
        for tiles in range(1, self.hd_num + 1):
            scale += tiles * np.ceil(tiles / ratio) <= most
        if self.variant == "Image_transform":
            scale = np.minimum(np.ceil(long / self.tile).astype(np.int64), scale)
        if self.variant == "R560_HD18":
            scale = np.minimum(np.ceil(long * 1.5 / self.tile).astype(np.int64), scale)
        return scale


def _upright(pair: tuple[Ints, Ints], portrait: Bools) -> Ints:
    """[n, 2] numbers along and across the long side, as x and y of the upright picture."""
    along = np.stack(pair, axis=1)
    return np.where(portrait[:, None], along[:, ::-1], along)
