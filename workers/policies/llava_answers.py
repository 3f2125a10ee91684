"""What the LLaVA family makes of its views: pictures, the map of features, places in the sequence.

Sources: LLaVA-VL/LLaVA-NeXT llava/mm_utils.py (`process_anyres_image`), llava/model/llava_arch.py
(`prepare_inputs_labels_for_multimodal`); transformers models/llava_next and llava_onevision.
"""

from dataclasses import replace

import numpy as np

from schemas.sized import NEWLINE, Drawn, Ints, Layout, Media, Ragged, Sized
from workers.policies.anyres import fit, unpad
from workers.policies.drawing import FIRST, Canvas, Thumbnail, center_in, drawn, square
from workers.policies.expand2square import expand2square
from workers.policies.grids import square_views
from workers.policies.layouts import one_run, part
from workers.policies.llava_views import MIDDLE, PADDED, SQUEEZED, Seen
from workers.policies.tiles import tile_boxes
from workers.policies.verdicts import Verdicts

HF, HF_DECIMALS = "hf_5.23.0", 7
"""transformers rounds to so many decimals before it cuts padding off."""


def unpadded(media: Media, seen: Seen) -> Ints:
    """[n, 2] columns and rows of features that remain of stitched tiles; zeros without tiles."""
    tiled = seen.tiled
    digits = HF_DECIMALS if seen.encoder.variant == HF else None
    kept = np.zeros((len(media), 2), np.int64)
    whole = seen.tiles_wh[tiled] * seen.encoder.feat_side
    kept[tiled] = unpad(media.wh[tiled], whole, digits)
    return kept


def spatial(seen: Seen, map_wh: Ints, rest: Ragged) -> Layout:
    """The whole picture, then the map row by row, each row with a newline; `rest` if not tiled."""
    columns, rows = map_wh.T
    whole = part(seen.tiled, 1, seen.encoder.feat_side**2)
    stitched = part(seen.tiled, rows, columns, NEWLINE)
    return one_run(seen.shown, [whole, stitched, rest])


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
    size_wh, size = media.wh, seen.encoder.image_size
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


def _shorter_side(size_wh: Ints, size: int) -> Ints:
    """[n, 2] with the shorter side at `size`, the longer rounded down."""
    shorter, longer = size_wh.min(axis=1), size_wh.max(axis=1)
    scaled = np.trunc(size * longer / shorter).astype(np.int64)
    return np.where(size_wh == shorter[:, None], size, scaled[:, None])
