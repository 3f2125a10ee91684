"""Media that are one video, for the tests of all policies."""

import numpy as np

from schemas.sized import Media

NO_CLIP = (np.nan, np.nan)


def video(
    frames: int,
    fps: float,
    clip: tuple[float, float] = NO_CLIP,
    wh: tuple[int, int] = (1280, 720),
) -> Media:
    return Media(
        kind=np.array(["video"], dtype=object),
        width=np.array([wh[0]]),
        height=np.array([wh[1]]),
        frames=np.array([frames]),
        fps=np.array([fps]),
        clip_start=np.array([clip[0]]),
        clip_end=np.array([clip[1]]),
        images=np.array([1]),
        key=np.zeros(1, np.uint64),
    )
