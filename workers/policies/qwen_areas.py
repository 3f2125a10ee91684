"""The least and the largest area of pictures and frames in the versions of the Qwen-VL family.

- qwen-vl-utils: each frame has its share of an area for the whole video, but at least 1.05 times
  the least area of a frame: 768 frames take 384 x 134 tokens at least, whatever the share. In 0.0.8
  a given `video_max_pixels` takes the place of the share.
- transformers, Qwen2-VL and 2.5: bounds of a frame alone, unless `cap_pixels_per_frame`.
- transformers, Qwen3-VL: bounds of all frames together.
`hard_cap` is ours: at most so many tokens a video. The least area of a frame becomes 16 tokens, as
the paper's cap of 16384 needs it; the frames are few enough for 32 tokens a temporal patch; a video
that breaks it still, by its ratio, is refused.
Sources: those of qwen_video.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from schemas.sized import Bools, Floats, Ints, Media
from workers.policies import smart_resize
from workers.policies.smart_resize import Sides

if TYPE_CHECKING:
    from workers.policies.qwen2_vl import Qwen2VL

FRAME_TOKENS = 768
"""Most tokens' worth of pixels of a frame by default, in every version."""
LEAST_TOKENS = 16
"""The least of a frame under a hard cap, and the last step for an over-long sample."""


def sides(policy: Qwen2VL, media: Media, rows: Bools, frames: Ints) -> Sides:
    """The size and bounds of each picture (0 frames) and video; 1 x 1 outside the mask."""
    token, video, n = policy.factor**2, frames > 0, len(rows)
    width = np.where(rows, policy.resized_width or media.width, 1)
    height = np.where(rows, policy.resized_height or media.height, 1)
    if policy.resized_width is not None:
        return Sides(width, height, np.full(n, 4.0 * token), np.full(n, 16384.0 * token))
    low, high = np.full(n, float(policy.min_pixels)), np.full(n, float(policy.max_pixels))
    if not video.any():
        return Sides(width, height, low, high)
    least = policy.video_min_pixels
    least = min(least, LEAST_TOKENS * token) if policy.hard_cap else least
    low[video], high[video] = least, _most(policy, frames[video], least)
    found = Sides(width, height, low, high)
    if not (policy.whole_videos and policy.video_variant == "hf_5.23.0"):
        return found
    larger = smart_resize.enlarged(found, policy.factor)
    width = np.where(video, larger.width, width)
    return replace(found, width=width, height=np.where(video, larger.height, height))


def _most(policy: Qwen2VL, frames: Ints, least: int) -> Floats:
    """The largest area of a frame, or of all `frames` together."""
    token, step, given = policy.factor**2, policy.temporal_patch_size, policy.video_max_pixels
    floor, longest = int(least * 1.05), given or FRAME_TOKENS * token
    if not policy.hf_videos:
        share = np.minimum(FRAME_TOKENS * token, policy.total_pixels / frames * step)
        most = np.minimum(np.maximum(share, floor), given or np.inf)
        if policy.video_variant == "qwen_vl_utils_0.0.8" and given:
            most = np.full(len(frames), float(given))
    elif not policy.cap_pixels_per_frame:
        most = np.full(len(frames), float(longest))
    elif policy.whole_videos:
        each = np.minimum(FRAME_TOKENS * token, longest // frames)
        most = np.maximum(each, floor).astype(np.float64) * frames
    else:
        each = np.minimum(longest, policy.total_pixels * step // frames)
        most = np.maximum(each, floor).astype(np.float64)
    if policy.hard_cap:
        grids = -(-frames // step)
        # scaled by the number itself, compared by the rounded one
        counted = np.minimum(frames, np.rint(frames / step) * step) if policy.whole_videos else 1.0
        most = np.minimum(most, policy.hard_cap * token / (grids * step) * step * counted)
    return most
