"""How the LLaVA family shows a medium to its encoder: in square views of one size.

One of four ways: a canvas cut into tiles, after a small view of the whole picture; the picture
padded to a square; the picture squeezed into a square; its middle. `llava_answers.py` makes a
`Sized` of it.
Sources: LLaVA-VL/LLaVA-NeXT llava/mm_utils.py (`process_anyres_image`, `expand2square`) and
llava/model/multimodal_encoder/siglip_encoder.py; transformers' CLIPImageProcessor.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from schemas.reasons import Reason
from schemas.sized import Bools, Ints, Media
from workers.policies.anyres import Canvases, best_canvas
from workers.policies.expand2square import CLIP_MEAN, Rgb
from workers.policies.frames import Picked
from workers.policies.verdicts import MAX_SIDE, Verdicts

REFUSED, TILED, PADDED, SQUEEZED, MIDDLE = range(5)
"""How a medium is shown."""

SIGLIP_SIZE, SIGLIP_MEAN = 384, (127, 127, 127)
"""Pixels of a side, and `int(mean * 255)`, of the encoder that is not CLIP."""


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
