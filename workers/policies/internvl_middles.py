"""The frames that InternVL evaluates on: the middles of equal stretches of a clip.

Source: OpenGVLab/InternVL internvl_chat/README.md (`get_index`), in its order of operations.
"""

from math import isnan

import numpy as np

from schemas.sized import Ints, Media
from workers.policies.clips import refuse_clip
from workers.policies.frames import Picked
from workers.policies.verdicts import Verdicts, is_video

UNBOUNDED_S = 100000.0
"""Seconds that stand for a missing bound of a clip."""


def pick_middles(media: Media, segments: int, verdicts: Verdicts) -> Picked:
    """The middles of equal stretches of every video; repeats frames of a short clip.

    A clip that is reversed or leads out of the video, which the reference does not notice, is
    refused.
    """
    picks: dict[int, Ints] = {}
    seconds: dict[int, float] = {}
    for row in np.flatnonzero(is_video(media) & verdicts.kept).tolist():
        frames, fps = int(media.frames[row]), float(media.fps[row])
        start, end = float(media.clip_start[row]), float(media.clip_end[row])
        start = -UNBOUNDED_S if isnan(start) else start
        end = UNBOUNDED_S if isnan(end) else end
        beyond = 2.0 * frames + 2
        first = max(0, round(max(-beyond, min(start * fps, beyond))))
        last = min(round(max(-beyond, min(end * fps, beyond))), frames - 1)
        stretch = float(last - first) / segments
        points = first + stretch / 2 + np.round(stretch * np.arange(segments))
        middles = points.astype(np.int64)
        if start > end or middles.min() < 0 or middles.max() >= frames:
            refuse_clip(media, row, verdicts)
            continue
        picks[row] = middles
        seconds[row] = max(stretch, 0.0) / fps
    return Picked.of(picks, seconds, len(media))
