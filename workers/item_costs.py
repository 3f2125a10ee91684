"""What media cost, from their geometry alone."""

from __future__ import annotations

import numpy as np

from schemas.columns import Ints
from schemas.sized import Media, Sized

BYTES_PER_KILOPIXEL = {"jpeg": 300, "webp": 1000, "png": 1500}
"""Modelled size of a rendered picture; it only decides how many packs a shard gets."""


def vit_attention(sized: Sized) -> Ints:
    """Sum over the encoder's segments of patches squared: each frame group of each view attends to
    itself; where the policy drops patches, what it keeps of its only view does.
    """
    t, h, w = sized.grid_thw.values.T
    whole = sized.grid_thw.sums(t * h * w)
    return np.where(
        sized.vit_patches < whole, sized.vit_patches**2, sized.grid_thw.sums(t * (h * w) ** 2)
    )


def payload_bytes(sized: Sized, media: Media, file_bytes: Ints, payload: str, codec: str) -> Ints:
    """Modelled bytes of each item's payload."""
    frames = np.maximum(sized.frame_indices.counts, 1)
    pixels = (sized.drawn.view_wh.prod(axis=1) + sized.drawn.thumbnail_wh.prod(axis=1)) * frames
    rendered: Ints = pixels * BYTES_PER_KILOPIXEL[codec] // 1000
    untouched = (media.kind != "video") & (payload == "source")
    return np.where(untouched, file_bytes, rendered)
