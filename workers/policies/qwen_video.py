"""How large pictures and the frames of videos are in the published versions of the Qwen-VL family.

- qwen-vl-utils: each frame has its share of an area for the whole video, but at least 1.05 times
  the least area of a frame: 768 frames take 384 x 134 tokens at least, whatever the share.
- transformers, Qwen2-VL and 2.5: bounds of a frame alone, unless `cap_pixels_per_frame`.
- transformers, Qwen3-VL: bounds of all frames together.
`hard_cap` is ours: at most so many tokens a video. The least area of a frame becomes 16 tokens, as
the paper's cap of 16384 needs it; the frames are few enough for 32 tokens a temporal patch; a video
that breaks it still, by its ratio, is refused.
Media are resized once: after qwen-vl-utils the processor is told `do_resize=False`, as the README
of Qwen3-VL has it. In 0.0.8 a given `video_max_pixels` takes the place of the share.
Sources: QwenLM/Qwen3-VL qwen-vl-utils/src/qwen_vl_utils/vision_process.py (`fetch_video`) of 0.0.8,
0.0.11 and 0.0.14; huggingface/transformers src/transformers/models/{qwen2_vl,qwen3_vl}/
video_processing_*.py of 4.57.1 and 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from schemas.reasons import Reason
from schemas.sized import Bools, Floats, Ints, Media
from workers.policies import smart_resize
from workers.policies.qwen_frames import VideoVariant
from workers.policies.smart_resize import Sides
from workers.policies.verdicts import Verdicts

if TYPE_CHECKING:
    from workers.policies.qwen2_vl import Qwen2VL

ROUNDING: dict[VideoVariant, smart_resize.Rounding] = {
    "qwen_vl_utils_0.0.14": "qwen_vl_utils",
    "qwen_vl_utils_0.0.11": "qwen_vl_utils_0.0.11",
    "qwen_vl_utils_0.0.8": "qwen_vl_utils",
    "hf_5.23.0": "hf_5.23.0",
    "hf_4.57.1": "hf_4.57.1",
}
FRAME_TOKENS = 768
"""Most tokens' worth of pixels of a frame by default, in every version."""
LEAST_TOKENS = 16
"""The least of a frame under a hard cap, and the last step for an over-long sample."""


def resize(policy: Qwen2VL, media: Media, frames: Ints, verdicts: Verdicts) -> Ints:
    """[n, 2] width and height in pixels of pictures (0 frames) and frames; refuses what cannot be.

    A side may be 0 where the reference gives 0; refused rows are (0, 0).
    """
    video, factor = frames > 0, policy.factor
    sides = _sides(policy, media, verdicts.kept, frames)
    strict = policy.whole_videos and policy.video_variant == "hf_4.57.1"
    smallest = np.where(video, strict, policy.variant == "hf_4.45.0") * (factor - 1) + 1
    asserts = policy.video_variant == "qwen_vl_utils_0.0.14"  # else bounds may cross
    low = sides.low if asserts else np.minimum(sides.low, sides.high)
    smart_resize.refuse_sides(replace(sides, low=low), smallest, verdicts)
    resized = smart_resize.smart_resize(sides, factor, policy.variant)
    some, clip = sides.only(video), frames[video]
    if policy.whole_videos:
        step = policy.temporal_patch_size
        resized[video] = smart_resize.smart_resize_whole(some, factor, clip, step)
    else:
        rounding = ROUNDING[policy.video_variant]
        resized[video] = smart_resize.smart_resize(some, factor, rounding)
    if policy.hard_cap:
        grids = -(-frames // policy.temporal_patch_size)
        used = resized.prod(axis=1) // factor**2 * grids
        verdicts.refuse(
            used > policy.hard_cap,
            Reason.OVER_BUDGET,
            lambda row: f"{used[row]} tokens; the hard cap of a video is {policy.hard_cap}",
        )
    resized[~verdicts.kept] = 0
    return resized


def _sides(policy: Qwen2VL, media: Media, rows: Bools, frames: Ints) -> Sides:
    """The size and bounds of each picture and video; 1 x 1 outside the mask."""
    token, video = policy.factor**2, frames > 0
    width = np.where(rows, policy.resized_width or media.width, 1)
    height = np.where(rows, policy.resized_height or media.height, 1)
    n = len(rows)
    if policy.resized_width is not None:
        return Sides(width, height, np.full(n, 4.0 * token), np.full(n, 16384.0 * token))
    least = policy.video_min_pixels
    least = min(least, LEAST_TOKENS * token) if policy.hard_cap else least
    low = np.where(video, least, policy.min_pixels).astype(np.float64)
    most = _most(policy, np.maximum(frames, 1), least)
    sides = Sides(width, height, low, np.where(video, most, policy.max_pixels))
    if not (policy.whole_videos and policy.video_variant == "hf_5.23.0"):
        return sides
    larger = smart_resize.enlarged(sides, policy.factor)
    width = np.where(video, larger.width, width)
    return replace(sides, width=width, height=np.where(video, larger.height, height))


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


def smaller(policy: Qwen2VL) -> dict[str, int]:
    """The settings of the next step: areas times 3/4 to their lower bounds, then those of frames,
    then half the frames; nothing after the last.

    A narrow shape may cost a little more after a step where the published code itself enlarges
    what is over a bound only by rounding (transformers, and qwen-vl-utils 0.0.11).
    """
    frames, token = policy.nframes or policy.max_frames, policy.factor**2
    # a given `video_max_pixels` would take the place of the share
    shared = policy.video_variant == "qwen_vl_utils_0.0.8" and not policy.video_max_pixels
    name = "total_pixels" if shared else "video_max_pixels"
    most = policy.total_pixels if shared else policy.video_max_pixels or FRAME_TOKENS * token
    last = LEAST_TOKENS * token * (frames if policy.whole_videos else 1)
    floor = max(policy.video_min_pixels, last if policy.whole_videos else 0)
    if policy.max_pixels > policy.min_pixels or most > floor:
        area = max(policy.max_pixels * 3 // 4, policy.min_pixels)
        total = max(policy.total_pixels * 3 // 4, 1)
        less = min(max(most * 3 // 4, floor), most)
        return {"max_pixels": area, "total_pixels": total, name: less}
    if policy.video_min_pixels > last:
        less = max(policy.video_min_pixels * 3 // 4, last)
        return {"video_min_pixels": less, name: less}
    if frames <= 4:
        return {}
    half = {"nframes" if policy.nframes else "max_frames": max(frames // 2, 4)}
    if policy.whole_videos:  # or fewer frames would only be larger
        half |= {"video_min_pixels": max(policy.video_min_pixels // 2, 1), name: max(most // 2, 1)}
    return half
