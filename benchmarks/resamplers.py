"""`render.resampler = "opencv"` beside `pillow`: how many times as fast, and how different.

    python -m benchmarks.resamplers [--source 'DIR/*.tar'] [--save]

The same pictures are rendered by both at the sizes of four policies: CPU seconds of one thread on
one core, decoding and encoding apart. Differences are of 8-bit values over all pixels and channels.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from benchmarks.kit.report import arguments, report, say, work_folder
from benchmarks.kit.timing import cpu_seconds, in_turn, medians, one_core
from benchmarks.source import Wanted, tars_for
from benchmarks.survey import every_nth
from patchpack.item_geometry import Drawing
from schemas.sized import images
from workers.pixels import Resampler, render
from workers.policies.internvl import InternVL
from workers.policies.llava15 import Llava15
from workers.policies.protocol import Policy
from workers.policies.qwen2_vl import Qwen2VL
from workers.policies.siglip2_naflex import SigLIP2NaFlex

POLICIES: dict[str, Policy] = {
    "qwen2_vl, max_pixels 200704": Qwen2VL(max_pixels=200704),
    "internvl": InternVL(),
    "llava15": Llava15(),
    "siglip2_naflex": SigLIP2NaFlex(),
}


def pictures(tars: Sequence[Path], count: int) -> list[Image.Image]:
    """Decoded pictures of the source."""
    found = []
    for path, offset, size in every_nth(tars, count):
        with path.open("rb") as file:
            file.seek(offset)
            found.append(Image.open(io.BytesIO(file.read(size))).convert("RGB"))
    return found


def rows_of(shown: Sequence[Image.Image], policy: Policy) -> list[Drawing]:
    """The geometry of each picture."""
    size = np.array([image.size for image in shown])
    table = policy.size(images(size[:, 0], size[:, 1])).to_table()
    return cast(list[Drawing], table.to_pylist())


def draw(shown: Sequence[Image.Image], rows: Sequence[Drawing], resampler: Resampler) -> None:
    """Render them all."""
    for image, row in zip(shown, rows, strict=True):
        render(image, row, resampler)


def difference(shown: Sequence[Image.Image], rows: Sequence[Drawing]) -> dict[str, float]:
    """Mean and largest difference of 8-bit values, the share over 8, and PSNR in dB."""
    counts = np.zeros(256, np.int64)
    for image, row in zip(shown, rows, strict=True):
        for one, other in zip(render(image, row), render(image, row, "opencv"), strict=True):
            apart = np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16))
            counts += np.bincount(apart.reshape(-1), minlength=256)
    values, total = np.arange(256), counts.sum()
    square = float((counts * values**2).sum() / total)
    return {
        "mean": float((counts * values).sum() / total),
        "largest": int(values[counts > 0].max()),
        "share_over_8": float(counts[9:].sum() / total),
        "psnr_db": float(10 * np.log10(255**2 / square)),
    }


def table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """The figures of each policy as a table in Markdown."""
    rows = [
        f"| {name} | {one['times_as_fast']:.1f} × | {one['mean']:.2f} | {one['largest']:.0f} | "
        f"{one['share_over_8']:.2%} | {one['psnr_db']:.1f} dB |"
        for name, one in figures.items()
    ]
    return "\n".join([_HEAD, *rows])


_HEAD = """| sizes of | as fast as Pillow | mean difference | largest | over 8 of 255 | PSNR |
|---|---|---|---|---|---|"""


def main() -> None:
    """Measure and report."""
    parser = arguments("OpenCV's resizing beside Pillow's: speed and difference.")
    parser.add_argument("--source", help="tars, 'DIR/*.tar'; by default made here")
    parser.add_argument("--sample", type=int, default=60, help="pictures")
    options = parser.parse_args()
    with work_folder(options.work) as work:
        shown = pictures(tars_for(options.source, work, Wanted(count=500)), options.sample)
    figures: dict[str, dict[str, float]] = {}
    for name, policy in POLICIES.items():
        rows = rows_of(shown, policy)
        both: tuple[Resampler, ...] = ("pillow", "opencv")
        sides: dict[str, Callable[[], float]] = {
            one: partial(cpu_seconds, partial(draw, shown, rows, one)) for one in both
        }
        with one_core():
            seconds = medians(in_turn(options.rounds, sides))
        faster = seconds["pillow"] / seconds["opencv"]
        figures[name] = {"times_as_fast": faster, **difference(shown, rows)}
    say(table(figures))
    report("resamplers", {"pictures": len(shown), "policies": figures}, [], save=options.save)


if __name__ == "__main__":
    main()
