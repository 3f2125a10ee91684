from __future__ import annotations

import io
import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from schemas.reasons import Reason
from tests.tiny_source import encoded, film, picture
from workers.faults import Fault
from workers.headers import Header
from workers.video import frames, probe

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"


def probed(data: bytes) -> Header:
    return probe(io.BytesIO(data))


def fault(data: bytes) -> Fault:
    with pytest.raises(Fault) as caught:
        probed(data)
    return caught.value


def picked(data: bytes, indices: list[int], orientation: int = 1) -> list[Image.Image]:
    return list(frames(io.BytesIO(data), indices, orientation))


def flashes(count: int, rotation: float | None = None) -> bytes:
    """Frame i is grey of value 20 i; its left upper quarter is white."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=10, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for i in range(count):
            pixels = np.full((48, 64, 3), 20 * i, np.uint8)
            pixels[:24, :32] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def sound() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("aac", rate=16_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def remuxed(data: bytes, change: Any) -> bytes:
    """The VP8 WebM with each packet's bytes changed by `change(number, bytes)`."""
    buffer = io.BytesIO()
    with av.open(io.BytesIO(data), "r") as old, av.open(buffer, "w", format="webm") as new:
        stream: Any = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(old.streams.video[0])):
            if packet.size:
                copy: Any = av.Packet(change(number, bytes(packet)))
                copy.pts, copy.dts, copy.stream = packet.pts, packet.dts, stream
                copy.time_base = packet.time_base
                copy.is_keyframe = packet.is_keyframe
                new.mux(copy)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("codec", "kind", "format_"),
    [
        ("libx264", "mp4", "mov"),
        ("libx264", "matroska", "matroska"),
        ("libvpx", "webm", "matroska"),
        ("mpeg4", "avi", "avi"),
    ],
)
def test_frames_are_counted_without_decoding_them(codec: str, kind: str, format_: str) -> None:
    expected = Header(
        format=format_,
        mode="yuv420p",
        width=64,
        height=48,
        orientation=1,
        frames=12,
        fps=6.0,
        duration=2.0,
    )
    assert probed(film(12, codec, kind)) == expected


def test_a_varying_rate_is_the_mean_of_the_timestamps() -> None:
    header = probed(film(times=[0, 1, 2, 9, 10, 30]))
    assert header.notes == ("vfr",)
    assert header.frames == 6
    assert header.fps == pytest.approx(1.0)  # 5 gaps in 30 sixths of a second
    assert header.duration == pytest.approx(6.0)


def test_a_rate_that_the_container_states_wrongly_is_measured() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 5)
        for i in range(11):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 5)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(io.BytesIO(buffer.getvalue())) as written:
        assert written.streams.video[0].average_rate == 25
    header = probed(buffer.getvalue())
    assert header.fps == pytest.approx(5.0)
    assert header.notes == ()


def test_a_wrong_frame_count_in_the_header_is_corrected() -> None:
    data = bytearray(film(12, "mpeg4", "avi"))
    length = data.index(b"vids") + 32
    assert int.from_bytes(data[length : length + 4], "little") == 12
    data[length : length + 4] = (500).to_bytes(4, "little")
    header = probed(bytes(data))
    assert (header.frames, header.notes) == (12, ("frame_count_corrected",))


@pytest.mark.parametrize(("angle", "code"), [(-90, 6), (90, 8), (180, 3), (0, 1), (45, 1)])
def test_the_rotation_is_an_orientation_and_is_applied(angle: float, code: int) -> None:
    data = flashes(3, angle)
    header = probed(data)
    assert header.orientation == code
    assert (header.width, header.height) == ((48, 64) if code >= 5 else (64, 48))
    assert ("rotated" in header.notes) == (code > 1)
    (image,) = picked(data, [1], header.orientation)
    assert image.size == (header.width, header.height)
    bright = {1: (0, 0), 3: (1, 1), 6: (1, 0), 8: (0, 1)}[code]  # the quarter that is white
    x, y = (side // 4 + bright[i] * side // 2 for i, side in enumerate(image.size))
    assert image.getpixel((x, y)) == (255, 255, 255)


def test_frames_come_in_order_once_for_each_index() -> None:
    data = flashes(10)
    images = picked(data, [0, 3, 3, 9])
    values = [np.asarray(image)[40, 60].tolist() for image in images]
    assert values == [pytest.approx([20 * i] * 3, abs=2) for i in (0, 3, 3, 9)]
    assert picked(data, []) == []


def test_a_frame_that_is_not_there_is_missing() -> None:
    with pytest.raises(Fault, match="frame 10 of the 2 picked") as caught:
        picked(flashes(10), [2, 10])
    assert caught.value.reason is Reason.FRAMES_MISSING


def test_descending_indices_are_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="ascend"):
        picked(flashes(5), [3, 2])


def test_frames_that_vp8_does_not_show_are_not_counted() -> None:
    def hide(number: int, packet: bytes) -> bytes:
        return bytes([packet[0] & ~0x10]) + packet[1:] if number in (4, 7) else packet

    data = remuxed(film(12, "libvpx", "webm"), hide)
    with av.open(io.BytesIO(data), "r") as container:
        assert len(list(container.decode(video=0))) == 10
    assert probed(data).frames == 10


def test_what_is_no_video_has_a_reason() -> None:
    no_video = fault(sound())
    assert no_video.reason is Reason.NO_VIDEO_STREAM
    assert "audio" in no_video.message
    assert fault(b"plain text " * 50).reason is Reason.NOT_MEDIA
    assert fault(encoded(picture(1), "png")).reason is Reason.NOT_MEDIA
    assert fault(film()[:900]).reason is Reason.UNDECODABLE  # an mp4 without its index
    unknown = film().replace(b"avc1", b"zzzz").replace(b"avcC", b"yyyy")
    assert fault(unknown).reason is Reason.UNDECODABLE


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {path}\n",
        '<?xml version="1.0"?><MPD><Period><BaseURL>{path}</BaseURL></Period></MPD>',
    ],
)
def test_a_playlist_cannot_make_us_open_another_file(tmp_path: Path, text: str) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(film())
    assert fault(text.format(path=secret).encode()).reason is Reason.NOT_MEDIA


def test_changed_bytes_give_a_header_or_a_reason_never_an_error() -> None:
    chance = random.Random(0)
    whole = [film(6), film(6, "libvpx", "webm"), film(6, "mpeg4", "avi")]
    for _ in range(150):
        data = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(chance.choice((300, len(data))))] = chance.randrange(256)
        try:
            header = probed(bytes(data))
            picked(bytes(data), [0, header.frames - 1], header.orientation)
        except Fault:
            continue


@pytest.mark.skipif(not CORPUS.exists(), reason="no corpus beside the checkout")
def test_every_video_of_the_corpus_has_the_frames_that_decode() -> None:
    lines = (CORPUS / "manifest.jsonl").read_text().splitlines()
    files = [file for line in lines for file in json.loads(line)["files"] if "codec" in file]
    assert len(files) == 11
    for file in files:
        with (CORPUS / file["path"]).open("rb") as opened:
            header = probe(opened)
        assert header.frames == file["frames_decoded"]
        assert (header.width, header.height) == (file["width"], file["height"])
        assert header.fps == pytest.approx(file["fps"])
        assert header.notes == ()
