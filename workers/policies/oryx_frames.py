"""The frames that Oryx looks at: all of a short video, else so many spread over it.

The reference has no step of a frame a second, which the paper names first; `every_second` is it.
Source: Oryx-mllm/Oryx oryx/train/train.py (`process_video`, `process_video_pretrain`).
"""

from math import ceil

import numpy as np

from schemas.sized import Ints, Media
from workers.policies.clips import clips
from workers.policies.draws import uniform
from workers.policies.frames import Picked
from workers.policies.spacing import linspace
from workers.policies.verdicts import Verdicts


def long_caps(media: Media, upbound: int, seed: int) -> Ints:
    """[n] the most frames of a long video, drawn in 3 to 4 times `upbound`, both included.

    The reference draws with Python's generator, anew in every epoch; here the draw follows from the
    seed and the medium's digest.
    """
    draws = uniform(media.key, seed) * (upbound + 1)
    return np.asarray(3 * upbound + np.minimum(draws.astype(np.int64), upbound), np.int64)


def pick_up_to(caps: Ints | int, media: Media, every_second: bool, verdicts: Verdicts) -> Picked:
    """The frames of every video, at most `caps`, one number or [n]."""
    most = np.broadcast_to(caps, len(media))
    picks: dict[int, Ints] = {}
    seconds: dict[int, float] = {}
    for row, (first, last) in clips(media, verdicts).items():
        length, fps, cap = last - first + 1, float(media.fps[row]), int(most[row])
        stride = max(fps, 1.0) if every_second else 1.0
        candidates = ceil(length / stride)
        places = linspace(candidates, cap) if candidates > cap else np.arange(candidates)
        chosen = np.minimum((places * stride).astype(np.int64), length - 1)
        picks[row] = first + chosen
        gaps = max(len(chosen) - 1, 1)
        seconds[row] = (
            float(chosen[-1] - chosen[0]) / gaps / fps if len(chosen) > 1 else length / fps
        )
    return Picked.of(picks, seconds, len(media))
