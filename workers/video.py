"""Videos by PyAV: what the stream holds without decoding it, and single frames of it.

- Frames are counted by their packets; header counts are missing in WebM and wrong in cut files.
- The rate is the container's average, or the mean of the timestamps where that contradicts it.
- One frame is decoded for the rotation, which FFmpeg hands out with frames only.
- Only real containers are opened: playlists and the like would make FFmpeg fetch other files.
Sound is passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Protocol

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from PIL import Image

from patchpack.drawing import upright
from schemas.reasons import Reason
from workers.faults import Fault
from workers.headers import Header

MAX_VIDEO_BYTES = 16 << 30
MAX_FRAMES = 1_000_000
MAX_SECONDS = 86_400.0
MAX_FRAME_PIXELS = 35_651_584
"""The largest frame of H.264 and HEVC (level 6.2): a decoder holds some twenty of them."""

_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpeg,mpegts,asf,ogg,gif",
    "protocol_whitelist": "none",
}
_CONTAINER = re.compile(rb"....ftyp|RIFF....AVI |\x1a\x45\xdf\xa3|FLV\x01|OggS", re.DOTALL)
"""What such a file begins with: where it does not open, its index is cut off or damaged."""
_ORIENTATION = {-90: 6, 90: 8, 180: 3, -180: 3}
"""FFmpeg's angle, counter-clockwise, as the EXIF code that turns a picture so."""
_RATE_TOLERANCE = 0.01
_SAME_RGB_EVERYWHERE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""Without it the colours depend on the vector unit of the machine (differences up to 9 of 255)."""


class Seekable(Protocol):
    """A binary file as PyAV reads it."""

    def read(self, size: int, /) -> bytes:
        """The next bytes."""

    def seek(self, offset: int, whence: int, /) -> int:
        """Move; the new position."""

    def tell(self) -> int:
        """The position."""


def probe(file: Seekable) -> Header:
    """The header of the first video stream.

    Raises Fault: not_media, no_video_stream, truncated, undecodable, too_many_pixels, _frames,
    _seconds.
    """
    with _opened(file) as container:
        stream = _video_stream(container)
        width, height = stream.width, stream.height
        if not 0 < width * height <= MAX_FRAME_PIXELS:
            what = f"frames of {width}×{height}, the limit is {MAX_FRAME_PIXELS} pixels"
            raise Fault(Reason.TOO_MANY_PIXELS, what)
        count, times, rotation = _walk(container, stream)
        fps, notes = _rate(stream, times)
        if fps and count / fps > MAX_SECONDS:
            what = f"{count / fps:.0f} seconds, the limit is {MAX_SECONDS:.0f}"
            raise Fault(Reason.TOO_MANY_SECONDS, what)
        if stream.frames and stream.frames != count:
            notes.append("frame_count_corrected")
        orientation = _ORIENTATION.get(rotation, 1)
        if orientation >= 5:
            width, height = height, width
        return Header(
            format=container.format.name.partition(",")[0],
            mode=stream.pix_fmt or "",
            width=width,
            height=height,
            orientation=orientation,
            frames=count,
            fps=fps,
            duration=count / fps if fps else 0.0,
            notes=(*notes, *(["rotated"] if orientation > 1 else [])),
        )


def frames(file: Seekable, indices: Sequence[int], orientation: int) -> Iterator[Image.Image]:
    """The frames at these indices, ascending and perhaps repeated, in RGB and upright.

    Decodes from the start and stops after the last. Raises Fault: frames_missing, undecodable.
    """
    if not indices:
        return
    position, wanted = 0, iter(indices)
    index = next(wanted)
    with _opened(file) as container:
        for number, frame in enumerate(container.decode(_video_stream(container))):
            if number < index:
                continue
            rgb = frame.to_ndarray(format="rgb24", interpolation=_SAME_RGB_EVERYWHERE)
            image = upright(Image.fromarray(rgb), orientation)
            while index == number:
                yield image
                position += 1
                if position == len(indices):
                    return
                index = next(wanted)
            if index < number:
                raise ValueError(f"frame indices must ascend: {index} after {number}")
    what = f"frame {index} of the {len(indices)} picked is not in the stream"
    raise Fault(Reason.FRAMES_MISSING, what)


@contextmanager
def _opened(file: Seekable) -> Iterator[InputContainer]:
    """The container; what FFmpeg raises on odd bytes becomes a Fault."""
    try:
        container = av.open(file, mode="r", options=_OPTIONS, metadata_errors="replace")
    except av.FFmpegError as error:
        file.seek(0, os.SEEK_SET)
        known = _CONTAINER.match(file.read(16))
        reason = Reason.UNDECODABLE if known else Reason.NOT_MEDIA
        raise Fault(reason, f"no video container opens: {error.strerror}") from error
    with container:
        try:
            yield container
        except av.FFmpegError as error:
            raise Fault(Reason.UNDECODABLE, f"video: {error.strerror}") from error


def _video_stream(container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # the cover of a song
            if not stream.codec_context:
                raise Fault(Reason.UNDECODABLE, "no decoder for the video stream")
            stream.thread_count = 1  # workers are processes, one core each
            return stream
    found = ", ".join(stream.type for stream in container.streams) or "none"
    raise Fault(Reason.NO_VIDEO_STREAM, f"no video among the streams ({found})")


def _walk(container: InputContainer, stream: VideoStream) -> tuple[int, list[int], int]:
    """Number of frames, their timestamps in order, and the rotation of the first."""
    count, times, rotation = 0, [], None
    for packet in container.demux(stream):
        if rotation is None and (decoded := packet.decode()):
            rotation = decoded[0].rotation
        if not _shows_a_frame(packet):
            continue
        count += 1
        if count > MAX_FRAMES:
            raise Fault(Reason.TOO_MANY_FRAMES, f"more than {MAX_FRAMES} frames")
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None:
            times.append(time)
    if rotation is None:
        raise Fault(Reason.UNDECODABLE, f"none of {count} packets gives a frame")
    return count, sorted(times), rotation


def _shows_a_frame(packet: Packet[VideoStream]) -> bool:
    """False for the empty one at the end, for frames cut away by an edit list, and for frames
    that VP8 only refers to (bit 4 of the first byte says whether one is shown)."""
    if not packet.size or packet.is_discard:
        return False
    return packet.stream.codec_context.name != "vp8" or bool(bytes(packet)[0] >> 4 & 1)


def _rate(stream: VideoStream, times: list[int]) -> tuple[float, list[str]]:
    """Mean frames a second, with the note "vfr" where gaps differ by over a tenth and two ticks."""
    stated = float(stream.average_rate or stream.guessed_rate or 0)
    if len(times) < 2 or times[0] == times[-1] or not stream.time_base:
        return stated, []
    mean_gap = (times[-1] - times[0]) / (len(times) - 1)
    gaps = [after - before for before, after in pairwise(times)]
    measured = float(1 / (mean_gap * stream.time_base))
    if max(gaps) - min(gaps) > max(2, mean_gap / 10):
        return measured, ["vfr"]
    if abs(stated - measured) > _RATE_TOLERANCE * measured:
        return measured, []
    return stated, []
