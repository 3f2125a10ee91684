"""Inputs that anybody can make: img2dataset-style tars of JPEGs with captions, and their records.

    python -m benchmarks.source --out DIR [--images DIR] [--count 3000] [--kilobytes 100]

- Random crops of real pictures, by default those that ship inside scikit-image and scikit-learn,
  at sizes and qualities that give JPEGs of about so many kilobytes (half to one and a half).
- The same arguments and the same Pillow give the same bytes; what is there already is left alone.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from math import sqrt
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps

from benchmarks.kit.records import records_for, tars_of
from workers.durable import write_whole

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
FIRST_AREA = 500_000
"""Pixels of the first try, whose size in bytes tells the scale of the second."""
MOST_BLOWN_UP = 2.0
MOST_TRIES = 20


@dataclass(frozen=True)
class Wanted:
    """What a source should be."""

    count: int = 3000
    kilobytes: int = 100
    per_tar: int = 500
    seed: int = 0
    images: str = ""  # a folder; "" = the pictures of installed packages


def make_source(folder: Path, wanted: Wanted) -> list[Path]:
    """The tars `00000.tar`, `00001.tar`, … in a folder, made where they are not there yet."""
    numbers = range(-(-wanted.count // wanted.per_tar))
    tars = [folder / f"{number:05d}.tar" for number in numbers]
    note = folder / "source.json"
    stated = json.dumps({**asdict(wanted), "pillow": PIL.__version__, "numpy": np.__version__})
    if note.is_file() and note.read_text() == stated and all(tar.is_file() for tar in tars):
        return tars
    folder.mkdir(parents=True, exist_ok=True)
    with get_context("spawn").Pool(min(2, len(tars))) as pool:
        pool.starmap(_make_tar, [(tar, number, wanted) for number, tar in enumerate(tars)], 1)
    write_whole(note, stated.encode())
    return tars


def tars_for(pattern: str | None, work: Path, wanted: Wanted) -> list[Path]:
    """The tars of a pattern, or, without one, made in the work folder."""
    if pattern:
        return tars_of(pattern)
    name = f"source-{wanted.count}x{wanted.kilobytes}k-{wanted.per_tar}"
    return make_source(work / name, wanted)


def _make_tar(path: Path, number: int, wanted: Wanted) -> None:
    rng = np.random.default_rng([wanted.seed, number])
    first = number * wanted.per_tar
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in range(first, min(first + wanted.per_tar, wanted.count)):
            jpeg, caption = _sample(rng, wanted)
            for extension, data in (("jpg", jpeg), ("txt", caption.encode())):
                member = tarfile.TarInfo(f"{sample:09d}.{extension}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    write_whole(path, buffer.getvalue())


def _sample(rng: np.random.Generator, wanted: Wanted) -> tuple[bytes, str]:
    """A JPEG of about the wanted size, and its caption; what is too plain for it is not taken."""
    target = wanted.kilobytes * 1000 * rng.uniform(0.5, 1.5)
    for _ in range(MOST_TRIES):
        jpeg, caption = _crop(rng, _pictures(wanted.images), target)
        if len(jpeg) > 0.8 * target:
            break
    return jpeg, caption


def _crop(
    rng: np.random.Generator, pictures: Sequence[tuple[str, Image.Image]], target: float
) -> tuple[bytes, str]:
    caption, picture = pictures[int(rng.integers(len(pictures)))]
    share = rng.uniform(0.55, 1.0, 2)
    width, height = (int(side * part) for side, part in zip(picture.size, share, strict=True))
    left = int(rng.integers(picture.width - width + 1))
    top = int(rng.integers(picture.height - height + 1))
    part = picture.crop((left, top, left + width, top + height))
    if rng.random() < 0.5:
        part = ImageOps.mirror(part)
    quality = int(rng.integers(85, 93))
    first = min(MOST_BLOWN_UP, sqrt(FIRST_AREA / (width * height)))
    better = first * sqrt(target / len(_encode(part, first, quality)))
    jpeg = _encode(part, min(MOST_BLOWN_UP, better), quality)
    return jpeg, f"{caption} From {left}, {top}: {width} by {height}."


def _encode(picture: Image.Image, scale: float, quality: int) -> bytes:
    size = max(28, round(picture.width * scale)), max(28, round(picture.height * scale))
    out = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(out, "jpeg", quality=quality)
    return out.getvalue()


@cache
def _pictures(folder: str) -> list[tuple[str, Image.Image]]:
    """Captions and pictures in RGB, by name."""
    if not folder:
        from examples.demo_pictures import PICTURES, load_pictures

        found = load_pictures()
        return [(PICTURES[name].caption, found[name].convert("RGB")) for name in sorted(found)]
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise SystemExit(f"{folder} holds no picture ({', '.join(SUFFIXES)})")
    return [(f"A picture named {path.stem}.", _opened(path)) for path in paths]


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def main() -> None:
    """Make a source and its records."""
    parser = argparse.ArgumentParser(description="Make tars of JPEGs with captions, and records.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", default="", help="a folder of pictures; default: shipped ones")
    parser.add_argument("--count", type=int, default=Wanted.count)
    parser.add_argument("--kilobytes", type=int, default=Wanted.kilobytes, help="mean of a JPEG")
    parser.add_argument("--per-tar", type=int, default=Wanted.per_tar)
    parser.add_argument("--seed", type=int, default=Wanted.seed)
    options = parser.parse_args()
    wanted = Wanted(options.count, options.kilobytes, options.per_tar, options.seed, options.images)
    tars = make_source(options.out, wanted)
    records = records_for(tars, options.out / "records.jsonl")
    size = sum(tar.stat().st_size for tar in tars)
    print(f"{options.out}: {records} samples in {len(tars)} tars, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
