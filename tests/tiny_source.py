"""A small records source and its recipe, from which the tests of whole builds start.

The same bytes on every run and in every folder: no chance, no clock, one thread an encoder.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from examples.demo_records import tar_of
from schemas.manifest import FOLDER, Manifest

Record = dict[str, Any]

TAR = "pictures.tar"


def picture(number: int, wh: tuple[int, int] | None = None) -> Image.Image:
    """A gradient in RGB, different for each number, 30 to 150 pixels a side unless told."""
    width, height = wh or (30 + 37 * number % 121, 30 + 53 * number % 121)
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 // width, y * 255 // height, (x + y + 7 * number) % 256]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as a file of this format."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def film(
    frames: int = 12,
    codec: str = "libx264",
    kind: str = "mp4",
    times: Sequence[int] | None = None,
) -> bytes:
    """A video of 64 x 48 pixels at 6 frames a second; `times` are other timestamps, in sixths."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind, container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=6, width=64, height=48, pix_fmt="yuv420p")
        if codec == "libx264":
            stream.options = {"x264-params": "no-asm=1"}  # its AVX-512 code reads unset memory
        assert isinstance(stream, av.VideoStream)
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for number, time in enumerate(times or range(frames)):
            frame = av.VideoFrame.from_ndarray(np.asarray(picture(5 * number, (64, 48))), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 6)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def asked(sample_id: str, *media: Record | str, answer: str = "A gradient.") -> Record:
    """A sample that shows media and asks what they are; a text stands for the path of an image."""
    parts = [{"type": "image", "path": one} if isinstance(one, str) else one for one in media]
    user = {"role": "user", "parts": [*parts, {"type": "text", "text": "What is it?"}]}
    return {"id": sample_id, "turns": [user, {"role": "assistant", "text": answer}]}


def in_tar(member: str, tar: str = TAR) -> Record:
    """A picture in a tar."""
    return {"type": "image", "tar": tar, "member": member}


def write_records(folder: Path, files: Mapping[str, bytes], records: Sequence[Record]) -> Path:
    """Media files and `records.jsonl` in a folder; the path of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    path = folder / "records.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def write_source(
    folder: Path, samples: int = 20, *, first: int = 0, times: int = 1, bad: bool = False
) -> Path:
    """Text alone, a PNG, one in a tar, several pictures, markers, in turn; and a video.

    Numbers start at `first`, sides are `times` as long; `bad` adds pictures that are missing, cut
    off, and whole with pixels that do not decode.
    """
    files: dict[str, bytes] = {"clip.mp4": film()}
    members: dict[str, bytes] = {}
    records: list[Record] = []
    for number in range(first, first + samples):
        name, image = f"s{number:04d}", picture(number)
        image = image.resize((image.width * times, image.height * times))
        files[f"images/{name}.png"] = encoded(image, "png")
        members[f"{name}.jpg"] = encoded(image, "jpeg", quality=90)
        marked = {"role": "user", "text": "<image>\nSo?", "images": [f"images/{name}.png"]}
        kinds: list[Record] = [
            {"id": name, "turns": [{"role": "text", "text": f"Document {number}. " * 9}]},
            asked(name, f"images/{name}.png"),
            asked(name, in_tar(f"{name}.jpg")),
            asked(name, f"images/{name}.png", in_tar(f"{name}.jpg")),
            {"id": name, "turns": [marked, {"role": "assistant", "text": "So."}]},
        ]
        records.append(kinds[number % len(kinds)])
    records.append(asked("video", {"type": "video", "path": "clip.mp4"}))
    if bad:
        files["images/cut.png"] = files[f"images/s{first:04d}.png"][:-30]
        files["images/broken.png"] = broken_png()
        records += [asked(name, f"images/{name}.png") for name in ("missing", "cut", "broken")]
    return write_records(folder, {**files, TAR: tar_of(members)}, records)


def broken_png(number: int = 3) -> bytes:
    """Chunks whole and their checksums right, but the zlib stream in the middle is not."""
    data = encoded(picture(number, (64, 64)), "png")
    begin = data.index(b"IDAT") + 4
    end = data.index(b"IEND") - 8
    pixels = data[begin : begin + 8] + bytes([255] * 40) + data[begin + 48 : end]
    return data[:begin] + pixels + crc_of(b"IDAT" + pixels) + data[end + 4 :]


def crc_of(chunk: bytes) -> bytes:
    """The checksum that follows a PNG chunk."""
    return zlib.crc32(chunk).to_bytes(4, "big")


def write_recipe(
    path: Path,
    output: Path | str,
    sources: Mapping[str, Path | str],
    *,
    payload: str = "pixels",
    max_tokens: int = 512,
    max_drop_ratio: float = 1.0,
    policy: str = 'kind = "qwen2_vl"',
    codec: str = "",
    encoder: str = "",
) -> Path:
    """A recipe for `records` sources by name."""
    lines = ["name = 'tiny'"]
    for name, records in sources.items():
        lines += ["[[sources]]", f"name = '{name}'", "kind = 'records'", f"path = '{records}'"]
    lines += ["[select]", f"max_drop_ratio = {max_drop_ratio}", "[[policy]]", policy]
    lines += ["[render]", f"payload = '{payload}'"]
    if codec:
        lines += [f"codec = '{codec}'"]
    if encoder:
        lines += ["[render.encoder]", encoder]
    lines += ["[pack]", f"max_tokens = {max_tokens}", "lanes = 2"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, "[output]", f"path = '{output}'", ""]))
    return path


def digests(manifest: Manifest) -> dict[str, str]:
    """The sha256 of every shard by name."""
    return {shard.name: shard.sha256 for shard in manifest.shards}


def ledger_rows(root: Path, manifest: Manifest) -> dict[str, Record]:
    """The ledger's row of each sample by its id; of several, the first."""
    rows: dict[str, Record] = {}
    for row in pq.read_table(root / FOLDER / manifest.ledger.name).to_pylist():
        rows.setdefault(row["sample_id"], row)
    return rows
