"""How large pictures and the frames of videos are in the published versions of the Qwen-VL family.

The bounds of their areas are those of qwen_areas.py. Media are resized once: after qwen-vl-utils
the processor is told `do_resize=False`, as the README of Qwen3-VL has it.
Sources: QwenLM/Qwen3-VL qwen-vl-utils/src/qwen_vl_utils/vision_process.py (`fetch_video`) of 0.0.8,
0.0.11 and 0.0.14; huggingface/transformers src/transformers/models/{qwen2_vl,qwen3_vl}/
video_processing_*.py of 4.57.1 and 5.23.0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from schemas.reasons import Reason
from schemas.sized import Ints, Media
from workers.policies import qwen_areas, smart_resize
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


def resize(policy: Qwen2VL, media: Media, frames: Ints, verdicts: Verdicts) -> Ints:
    """[n, 2] width and height in pixels of pictures (0 frames) and frames; refuses what cannot be.

    A side may be 0 where the reference gives 0; refused rows are (0, 0).
    """
    video, factor = frames > 0, policy.factor
    sides = qwen_areas.sides(policy, media, verdicts.kept, frames)
    strict_pictures = policy.variant == "hf_4.45.0"
    strict_videos = policy.whole_videos and policy.video_variant == "hf_4.57.1"
    smallest = np.where(video, factor if strict_videos else 1, factor if strict_pictures else 1)
    asserts = policy.video_variant == "qwen_vl_utils_0.0.14"  # else bounds may cross
    low = sides.low if asserts else np.minimum(sides.low, sides.high)
    smart_resize.refuse_sides(replace(sides, low=low), smallest, verdicts)
    resized = smart_resize.smart_resize(sides, factor, policy.variant)
    if video.any():
        resized[video] = _frame_sizes(policy, sides.only(video), frames[video])
        _cap(policy, resized, frames, verdicts)
    resized[~verdicts.kept] = 0
    return resized


def _frame_sizes(policy: Qwen2VL, sides: Sides, frames: Ints) -> Ints:
    """[n, 2] the size of each frame of videos."""
    if policy.whole_videos:
        step = policy.temporal_patch_size
        return smart_resize.smart_resize_whole(sides, policy.factor, frames, step)
    return smart_resize.smart_resize(sides, policy.factor, ROUNDING[policy.video_variant])


def _cap(policy: Qwen2VL, resized: Ints, frames: Ints, verdicts: Verdicts) -> None:
    """Drop the videos of more tokens than the hard cap."""
    if policy.hard_cap:
        grids = -(-frames // policy.temporal_patch_size)
        used = resized.prod(axis=1) // policy.factor**2 * grids
        verdicts.refuse(
            used > policy.hard_cap,
            Reason.OVER_BUDGET,
            lambda row: f"{used[row]} tokens; the hard cap of a video is {policy.hard_cap}",
        )


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
    most = (
        policy.total_pixels
        if shared
        else policy.video_max_pixels or qwen_areas.FRAME_TOKENS * token
    )
    last = qwen_areas.LEAST_TOKENS * token * (frames if policy.whole_videos else 1)
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
