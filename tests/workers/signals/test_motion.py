"""Signals of videos: still ones, moving ones, and cuts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import pytest

from schemas.reasons import Reason
from workers.faults import Fault
from workers.signals.motion import FRAMES, motion_signals, picked

Frame = npt.NDArray[np.uint8]


def film(shown: Sequence[Frame]) -> io.BytesIO:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=8, width=96, height=64, pix_fmt="yuv420p")
        assert isinstance(stream, av.VideoStream)
        for number, picture in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    buffer.seek(0)
    return buffer


def view(seed: int, shift: int = 0) -> Frame:
    """A scene of soft blobs, moved to the side."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    large = np.repeat(np.repeat(small, 16, axis=0), 16, axis=1)
    return np.ascontiguousarray(np.roll(large, shift, axis=1))


def test_what_stands_still() -> None:
    found = motion_signals(film([view(1)] * 20), (0, 20), 1)
    assert found.static == 1.0
    assert found.motion < 1.0
    assert found.scene_cuts == 0


def test_what_moves() -> None:
    found = motion_signals(film([view(1, 8 * n) for n in range(20)]), (0, 20), 1)
    assert found.static < 0.2
    assert found.motion > 5.0
    assert found.scene_cuts == 0


def test_cuts() -> None:
    scenes = [view(seed) for seed in (1, 2, 3) for _ in range(7)]
    found = motion_signals(film(scenes), (0, 21), 1)
    assert found.scene_cuts == 2
    assert found.static == pytest.approx(18 / 20)


def test_a_clip_alone_is_looked_at() -> None:
    scenes = [view(1)] * 10 + [view(2)] * 10
    assert motion_signals(film(scenes), (0, 10), 1).scene_cuts == 0
    assert motion_signals(film(scenes), (5, 15), 1).scene_cuts == 1
    one = motion_signals(film(scenes), (3, 4), 1)
    assert (one.static, one.motion, one.scene_cuts) == (0.0, 0.0, 0)


def test_frames_are_spread_evenly() -> None:
    assert picked((0, 5)) == [0, 1, 2, 3, 4]
    many = picked((100, 1100))
    assert len(many) == FRAMES
    assert (many[0], many[-1]) == (115, 1084)


def test_what_is_no_video() -> None:
    with pytest.raises(Fault) as raised:
        motion_signals(io.BytesIO(b"nothing"), (0, 4), 1)
    assert raised.value.reason is Reason.NOT_MEDIA
