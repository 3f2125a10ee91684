"""Pictures as the inputs of vision towers: flat patches (Qwen2-VL and after it) or tiles.

A flat patch is one row of `pixel_values`: channels, then frames, rows and columns of its pixels;
patches of one LLM token follow one another (`vit_positions.merge_block_order`). Source:
huggingface/transformers image_processing_qwen2_vl.py, where a picture is a clip of the same frame
`temporal_patch_size` times, and a video of an odd number of frames repeats its last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]
"""[H, W, 3] RGB."""
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Normalization:
    """Of each channel: (value / 255 - mean) / std."""

    mean: Triple
    std: Triple


CLIP = Normalization((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""CLIP, LLaVA-1.5 and -NeXT, Qwen2-VL, Qwen2.5-VL."""
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""InternVL."""
HALF = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""SigLIP, LLaVA-OneVision, Qwen3-VL."""


def normalized(picture: Picture, by: Normalization) -> Pixels:
    """[3, H, W] of a picture [H, W, 3]."""
    return np.ascontiguousarray(_scaled(picture.transpose(2, 0, 1), by))


def tiles(views: Sequence[Picture], by: Normalization) -> Pixels:
    """[n, 3, H, W] of views of one size. Raises ValueError where they have several."""
    sizes = sorted({view.shape for view in views})
    if len(sizes) != 1:
        raise ValueError(f"views of the sizes {sizes} are no tiles")
    return np.stack([normalized(view, by) for view in views])


def flat_patches(
    views: Sequence[Picture],
    grid_thw: Sequence[int],
    by: Normalization,
    *,
    merge: int = 2,
    temporal_patch_size: int = 2,
) -> Pixels:
    """[t * h * w, 3 * temporal_patch_size * P * P] of one picture or of the frames of one video.

    The side P of a patch follows from the size of the views and `grid_thw` = t, h, w in patches.
    Raises ValueError where they do not fit each other.
    """
    frames, rows, columns = grid_thw
    height, width = views[0].shape[:2]
    size = height // rows
    if (size * rows, size * columns) != (height, width) or rows % merge or columns % merge:
        what = f"{width} x {height} pixels are no {rows} x {columns} patches in blocks of {merge}"
        raise ValueError(what)
    if -(-len(views) // temporal_patch_size) != frames:
        what = f"{len(views)} frames are no {frames} patches of {temporal_patch_size}"
        raise ValueError(what)
    # a picture is moved once, and then repeated
    copies = temporal_patch_size if len(views) == 1 else 1
    short = frames * temporal_patch_size // copies - len(views)
    clip = np.stack([*views, *[views[-1]] * short])
    blocks = clip.reshape(
        *(frames, temporal_patch_size // copies),
        *(rows // merge, merge, size),
        *(columns // merge, merge, size),
        3,
    )
    ordered = np.ascontiguousarray(blocks.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7))
    scaled = _scaled(ordered.reshape(frames * rows * columns, 3, 1, -1), by, axis=1)
    return np.broadcast_to(scaled, (len(scaled), 3, copies, scaled.shape[-1])).reshape(
        len(scaled), -1
    )


def _scaled(channels: Picture, by: Normalization, axis: int = 0) -> Pixels:
    """In float32, as transformers' fast processors fuse both steps."""
    shape = [3 if one == axis else 1 for one in range(channels.ndim)]
    mean = (np.array(by.mean, np.float32) * np.float32(255)).reshape(shape)
    std = (np.array(by.std, np.float32) * np.float32(255)).reshape(shape)
    scaled: Pixels = np.subtract(channels, mean, dtype=np.float32)
    scaled /= std
    return scaled
