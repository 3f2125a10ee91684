"""Which frames of a video the published versions of the Qwen-VL family look at.

- qwen-vl-utils: an even number, spread over the clip with both ends.
- transformers, Qwen2-VL and 2.5: an even number, the first frame of each of equal stretches, by
  float32 sums. Of 100 videos it asks 2 for one frame more than they have; those are refused.
- transformers, Qwen3-VL: spread with both ends, odd numbers too.
The encoder repeats the last frame of an odd number. Clips are cut as qwen-vl-utils does it, also
for transformers, which has none.
Sources: QwenLM/Qwen3-VL qwen-vl-utils/src/qwen_vl_utils/vision_process.py (`smart_nframes`) of
0.0.8, 0.0.11 and 0.0.14; huggingface/transformers src/transformers/models/{qwen2_vl,qwen3_vl}/
video_processing_*.py (`sample_frames`) and qwen3_vl/processing_qwen3_vl.py of 4.57.1 and 5.23.0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Literal

import numpy as np

from schemas.reasons import Reason
from schemas.sized import Floats, Ints, Media, Texts
from workers.policies.frames import FrameRule, Picked, pick
from workers.policies.spacing import spread
from workers.policies.verdicts import Verdicts, is_video

if TYPE_CHECKING:
    from workers.policies.qwen2_vl import Qwen2VL

VideoVariant = Literal[
    "qwen_vl_utils_0.0.14", "qwen_vl_utils_0.0.11", "qwen_vl_utils_0.0.8", "hf_5.23.0", "hf_4.57.1"
]
MAX_FRAMES = 768
"""The most by default, in every version."""
CAPPED_GRID = 32
"""Tokens of each temporal patch that a hard cap leaves room for; so 1024 frames of 16384."""


def pick_frames(policy: Qwen2VL, media: Media, verdicts: Verdicts) -> Picked:
    """The frames of every video, without the repeated last one that fills an odd number up."""
    if policy.video_variant == "qwen_vl_utils_0.0.8":
        clip = ~(np.isnan(media.clip_start) & np.isnan(media.clip_end))
        say = "qwen-vl-utils 0.0.8 reads whole videos only"
        verdicts.refuse(is_video(media) & clip, Reason.BAD_CLIP, lambda _: say)
    place: Callable[[int, int, int], Ints] = spread
    if policy.hf_videos:
        place = _spread_doubles if policy.whole_videos else _starts
    count, step = partial(_count, policy), policy.temporal_patch_size
    picked = pick(media, FrameRule(count, step, place, policy.whole_videos), verdicts)
    if policy.kind == "qwen2_5_vl" and policy.video_variant == "hf_4.57.1":
        # that processor takes the rate that was asked for, whatever came of it
        return Picked(picked.indices, np.where(picked.counts > 0, 1 / policy.fps, 0.0))
    return picked


def refuse_beyond(policy: Qwen2VL, picked: Picked, verdicts: Verdicts) -> None:
    """Drop the videos that are asked for a frame after their last one."""
    if policy.hf_videos and not policy.whole_videos:
        verdicts.refuse(
            picked.counts % policy.temporal_patch_size > 0,
            Reason.TOO_FEW_FRAMES,
            lambda row: f"asks for frame {picked.indices[row][-1]}, one after the last",
        )


def _count(policy: Qwen2VL, length: int, fps: float) -> int:
    """`smart_nframes` and `sample_frames`: how many of `length` frames are looked at."""
    step = policy.temporal_patch_size
    most = policy.nframes or policy.max_frames
    most = min(most, policy.hard_cap // CAPPED_GRID * step) if policy.hard_cap else most
    if policy.nframes is not None:
        return most if policy.whole_videos else round(most / step) * step
    asked = length / fps * policy.fps
    if policy.whole_videos:
        return min(max(int(asked), policy.min_frames), most, length)
    least = policy.min_frames if policy.hf_videos else -(-policy.min_frames // step) * step
    if policy.video_variant == "qwen_vl_utils_0.0.8":
        # a video's length lowers the default of 768, but not a number that was asked for
        most = min(most, length) if policy.max_frames == MAX_FRAMES else most
        return round(min(max(asked, least), most // step * step) / step) * step
    return int(min(max(asked, least), most // step * step, length) // step) * step


def _starts(first: int, last: int, count: int) -> Ints:
    """`torch.arange(0, N, N / count).int()` of the N frames: the first frame of each stretch.

    torch sums in float32 from every eighth point on, except in the last points that do not fill
    sixteen. Its answer has `count` + 1 points where rounding errors leave room for one more.
    """
    stretch = (last + 1 - first) / count
    at = np.arange(ceil((last + 1 - first) / stretch))
    eighths = (at // 8 * 8 * stretch).astype(np.float32).astype(np.float64) + at % 8 * stretch
    points = np.where(at < len(at) // 16 * 16, eighths, at * stretch).astype(np.float32)
    return np.asarray(first + points.astype(np.int64), np.int64)


def _spread_doubles(first: int, last: int, count: int) -> Ints:
    """`count` points from first to last inclusive, rounded half to even, in doubles as numpy's."""
    return first + np.linspace(0, last - first, count).round().astype(np.int64)


def timestamps(picked: Picked, fps: Floats, step: int) -> Texts:
    """`<3.2 seconds>` before each temporal patch of a video: the mean of its ends' times."""
    which = np.full(len(fps), -1, np.int64)
    sets: list[tuple[str, ...]] = []
    for row in np.flatnonzero(picked.counts).tolist():
        times = (picked.indices[row] / fps[row]).tolist()
        ends = [times[min(i + step, len(times)) - 1] for i in range(0, len(times), step)]
        middles = [(a + b) / 2 for a, b in zip(times[::step], ends, strict=True)]
        which[row] = len(sets)
        sets.append((*(f"<{middle:.1f} seconds>" for middle in middles), ""))
    return Texts(which, tuple(sets))
