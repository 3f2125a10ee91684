"""The frames between the bounds of a clip, which a record gives in seconds.

Source: QwenLM/Qwen3-VL qwen-vl-utils/src/qwen_vl_utils/vision_process.py
(`calculate_video_frame_range`) of 0.0.14.
"""

from math import ceil, floor, isnan

import numpy as np

from schemas.reasons import Reason
from schemas.sized import Media
from workers.policies.verdicts import Verdicts, is_video


def clips(media: Media, verdicts: Verdicts) -> dict[int, tuple[int, int]]:
    """Row to the first and last frame, both inclusive, of every video; refuses an empty clip."""
    found = {}
    for row in np.flatnonzero(is_video(media) & verdicts.kept).tolist():
        clip = _clip(media, row)
        if clip is None:
            refuse_clip(media, row, verdicts)
        else:
            found[row] = clip
    return found


def refuse_clip(media: Media, row: int, verdicts: Verdicts) -> None:
    """Drop a video whose clip holds no frame, or other frames than the video's."""
    frames, fps = int(media.frames[row]), float(media.fps[row])
    verdicts.refuse_row(
        row,
        Reason.BAD_CLIP,
        f"clip {media.clip_start[row]} s to {media.clip_end[row]} s of a video of "
        f"{frames / fps:.2f} s ({frames} frames at {fps} a second)",
    )


def _clip(media: Media, row: int) -> tuple[int, int] | None:
    frames, fps = int(media.frames[row]), float(media.fps[row])
    start, end = float(media.clip_start[row]), float(media.clip_end[row])
    if isnan(start) and isnan(end):
        return 0, frames - 1
    duration = frames / fps
    first = 0 if isnan(start) else ceil(max(0.0, min(start, duration)) * fps)
    last = frames - 1 if isnan(end) else floor(max(0.0, min(end, duration)) * fps)
    last = min(last, frames - 1)
    # the reference refuses a clip of one frame, though not a video of one
    return (first, last) if first < last else None
