"""How the LLaVA family shows a medium to its encoder, and what that makes of a `Sized`.

Square views of one size, shown in one of four ways: a canvas cut into tiles, after a small view of
the whole picture; the picture padded to a square; the picture squeezed into a square; its middle.
Sources: LLaVA-VL/LLaVA-NeXT llava/mm_utils.py (`process_anyres_image`, `expand2square`) and
llava/model/multimodal_encoder/siglip_encoder.py; transformers' CLIPImageProcessor.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from schemas.reasons import Reason
from schemas.sized import NEWLINE, Bools, Drawn, Ints, Layout, Media, Ragged, Sized
from workers.policies.anyres import Canvases, best_canvas, fit, unpad
from workers.policies.drawing import FIRST, Canvas, Thumbnail, center_in, drawn, square
from workers.policies.expand2square import CLIP_MEAN, Rgb, expand2square
from workers.policies.frames import Picked
from workers.policies.grids import square_views
from workers.policies.layouts import one_run, part
from workers.policies.tiles import tile_boxes
from workers.policies.verdicts import MAX_SIDE, Verdicts

REFUSED, TILED, PADDED, SQUEEZED, MIDDLE = range(5)
"""How a medium is shown."""

SIGLIP_SIZE, SIGLIP_MEAN = 384, (127, 127, 127)
"""Pixels of a side, and `int(mean * 255)`, of the encoder that is not CLIP."""

HF, HF_DECIMALS = "hf_5.23.0", 7
"""transformers rounds to so many decimals before it cuts padding off."""


class Encoder(Protocol):
    """The settings that the policies of the family share."""

    @property
    def image_size(self) -> int:
        """Pixels of a side of a view."""

    @property
    def feat_side(self) -> int:
        """Patches of a side of a view."""

    @property
    def canvases(self) -> Canvases:
        """(width, height) in pixels of each canvas of tiles, in the order that breaks ties."""

    @property
    def background(self) -> Rgb:
        """RGB around a padded picture; a canvas of tiles is black."""

    @property
    def variant(self) -> str:
        """The published code that the answers equal."""


@dataclass(frozen=True)
class Seen:
    """How n media are shown to an encoder.

    `how` is int [n] of the codes above; `canvas_wh` [n, 2] holds for the tiled ones; `frame_merge`
    is the side of the block of patches of a frame that becomes one token.
    """

    encoder: Encoder
    how: Ints
    canvas_wh: Ints
    picked: Picked
    frame_merge: int

    @property
    def tiled(self) -> Bools:
        """The rows that are cut into tiles."""
        return np.asarray(self.how == TILED)

    @property
    def shown(self) -> Bools:
        """The rows that are not refused."""
        return np.asarray(self.how > REFUSED)

    @property
    def tiles_wh(self) -> Ints:
        """[n, 2] columns and rows of tiles; 0 where there are none."""
        return self.canvas_wh // self.encoder.image_size * self.tiled[:, None]

    @property
    def views(self) -> Ints:
        """[n] views of a picture or of one frame, the small one of a tiled picture among them."""
        return np.asarray(self.tiles_wh.prod(axis=1) + self.shown, np.int64)

    @property
    def frames(self) -> Ints:
        """[n] frames; 1 for a picture, 0 for a refused row."""
        return np.maximum(self.picked.counts, 1) * self.shown


def mean_colour(fields: dict[str, Any]) -> Rgb:
    """Default colour around a padded picture: the mean of the encoder of this `image_size`."""
    return SIGLIP_MEAN if fields["image_size"] == SIGLIP_SIZE else CLIP_MEAN


def see(encoder: Encoder, media: Media, how: Ints, picked: Picked, *, frame_merge: int = 1) -> Seen:
    """Choose the canvas of each row that is to be tiled."""
    rows = np.flatnonzero(how == TILED)
    canvas_wh = np.zeros((len(media), 2), np.int64)
    index = best_canvas(media.width[rows], media.height[rows], encoder.canvases)
    canvas_wh[rows] = np.array(encoder.canvases, np.int64).reshape(-1, 2)[index]
    return Seen(encoder, how, canvas_wh, picked, frame_merge)


def unpadded(media: Media, seen: Seen) -> Ints:
    """[n, 2] columns and rows of features that remain of stitched tiles; zeros without tiles."""
    tiled = seen.tiled
    digits = HF_DECIMALS if seen.encoder.variant == HF else None
    kept = np.zeros((len(media), 2), np.int64)
    whole = seen.tiles_wh[tiled] * seen.encoder.feat_side
    kept[tiled] = unpad(_size_wh(media)[tiled], whole, digits)
    return kept


def spatial(seen: Seen, map_wh: Ints, rest: Ragged) -> Layout:
    """The whole picture, then the map row by row, each row with a newline; `rest` if not tiled."""
    columns, rows = map_wh.T
    whole = part(seen.tiled, 1, seen.encoder.feat_side**2)
    stitched = part(seen.tiled, rows, columns, NEWLINE)
    return one_run(seen.shown, [whole, stitched, rest])


def refuse_slivers(media: Media, video: Bools, verdicts: Verdicts, image_size: int) -> None:
    """Refuse a video whose longer side has no size after the shorter became `image_size`."""
    short = np.maximum(np.minimum(media.width, media.height), 1)
    long = np.maximum(media.width, media.height)
    verdicts.refuse(
        video & (long / short * image_size > MAX_SIDE),
        Reason.RATIO_TOO_EXTREME,
        lambda row: (
            f"{media.width[row]} x {media.height[row]} pixels resized to {image_size} "
            f"on the shorter side: more than {MAX_SIDE} on the longer"
        ),
    )


def sized(media: Media, verdicts: Verdicts, seen: Seen, layout: Layout) -> Sized:
    """All columns of media that are shown so and laid out so."""
    side, views = seen.encoder.feat_side, seen.views
    return Sized(
        drawn=_drawn(media, seen),
        layout=layout,
        frame_indices=seen.picked.indices,
        seconds_per_grid=seen.picked.seconds,
        grid_thw=square_views(views, side, seen.frames),
        merge=np.where(seen.picked.counts > 0, seen.frame_merge, 1),
        llm_tokens=layout.embeddings,
        vit_patches=views * seen.frames * side**2,
        kept_patches=Ragged.empty(len(media)),
        variant=seen.encoder.variant,
        drop=verdicts.drop,
        message=verdicts.message,
    )


def _drawn(media: Media, seen: Seen) -> Drawn:
    size_wh, size = _size_wh(media), seen.encoder.image_size
    rgb = seen.encoder.background
    tiled, padded, middle = seen.tiled, seen.how == PADDED, seen.how == MIDDLE
    resized = square(size, seen.how == SQUEEZED)
    resized[tiled] = fit(size_wh[tiled], seen.canvas_wh[tiled])
    resized[padded] = size_wh[padded]
    resized[middle] = _shorter_side(size_wh[middle], size)
    around = resized.copy()
    around[tiled] = seen.canvas_wh[tiled]
    around[padded] = expand2square(size_wh[padded], rgb).wh
    view = around.copy()
    view[padded] = size
    crops = tile_boxes(seen.tiles_wh, size)
    if middle.any():
        start = center_in(resized, square(size, middle))
        box = np.concatenate([start, start + size], axis=1)
        crops = Ragged.join([crops, Ragged.where(middle, box)])
    pictures = drawn(
        resized,
        canvas=Canvas(wh=around, xy=center_in(around, resized), rgb=rgb),
        view_wh=view,
        crops=crops,
        thumbnail=Thumbnail(where=tiled * FIRST, wh=square(size, tiled)),
    )
    return replace(pictures, pad_rgb=pictures.pad_rgb * padded[:, None])


def _size_wh(media: Media) -> Ints:
    return np.stack([media.width, media.height], axis=1)


def _shorter_side(size_wh: Ints, size: int) -> Ints:
    """[n, 2] with the shorter side at `size`, the longer rounded down."""
    shorter, longer = size_wh.min(axis=1), size_wh.max(axis=1)
    scaled = np.trunc(size * longer / shorter).astype(np.int64)
    return np.where(size_wh == shorter[:, None], size, scaled[:, None])
