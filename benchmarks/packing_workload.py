"""Sizes of multimodal samples, drawn from a seed: five sources with grids as Qwen2-VL has them.

| source | share | text tokens | vision |
|---|---|---|---|
| text | 20 % | about 220 | none |
| single | 48 % | about 110 | one picture of about 650 tokens |
| multi | 12 % | about 200 | 2 to 10 pictures of about 380 |
| video | 8 % | about 150 | 2 to 192 pairs of frames of about 140 |
| doc | 12 % | about 350 | one page of about 2,600 |

Sizes are lognormal; a token stands for four ViT patches; each picture has two marks. What is longer
than a pack loses vision, as under a resolution policy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from schemas.columns import Ints
from schemas.ragged import Floats

SEED = 20250101
NAMES = ("text", "single", "multi", "video", "doc")
SHARES = (0.20, 0.48, 0.12, 0.08, 0.12)
RUN = 5000
"""Samples of one source in a row where they come sorted."""


class Columns(NamedTuple):
    """[n] each."""

    key: Ints
    tokens: Ints
    patches: Ints
    attention: Ints
    source: Ints


class _Shape(NamedTuple):
    """Medians, spreads and limits of one source."""

    text: tuple[float, float, int, int]  # median, sigma, least, most
    area: tuple[float, float, int, int] = (0, 0, 0, 0)  # tokens of a picture or a pair of frames
    aspect: tuple[float, float] = (1.0, 0.35)  # median and sigma of width / height


_SHAPES = (
    _Shape((220, 0.8, 50, 800)),
    _Shape((110, 0.7, 20, 400), (650, 0.75, 64, 16384)),
    _Shape((200, 0.7, 40, 1500), (380, 0.6, 64, 4096)),
    _Shape((150, 0.6, 20, 800), (140, 0.45, 32, 768), (1.0, 0.25)),
    _Shape((350, 0.9, 30, 3000), (2600, 0.7, 256, 16384), (0.75, 0.3)),
)


def workload(
    count: int,
    capacity: int,
    patch_capacity: int | None = None,
    seed: int = SEED,
    *,
    by_source: bool = False,
) -> Columns:
    """So many samples, each of which fits into a pack of its own; `by_source` in runs of one."""
    draws = np.random.Generator(np.random.Philox(seed))
    source = draws.choice(len(NAMES), size=count, p=SHARES)
    if by_source:
        runs = np.arange(count) // RUN
        source = np.sort(source)[np.argsort(draws.permutation(runs.max() + 1)[runs], kind="stable")]
    text, vision, pictures = (np.zeros(count, np.int64) for _ in range(3))
    for number, shape in enumerate(_SHAPES):
        rows = np.flatnonzero(source == number)
        text[rows] = _lognormal(draws, shape.text, len(rows))
        if not shape.area[0]:
            continue
        shown = np.ones(len(rows), np.int64)
        if NAMES[number] == "multi":
            shown = np.clip(draws.geometric(0.35, len(rows)) + 1, 2, 10)
        owner = np.repeat(rows, shown)
        tokens = _grids(draws, shape, len(owner))
        if NAMES[number] == "video":
            pairs = _lognormal(draws, (20, 0.8, 4, 384), len(rows)) // 2
            tokens = np.minimum(np.maximum(pairs, 1) * tokens, 16384)
        np.add.at(vision, owner, tokens)
        pictures[rows] = shown
    text = np.minimum(text, capacity - 64)
    room = capacity - text - 2 * pictures
    if patch_capacity is not None:
        room = np.minimum(room, patch_capacity // 4)
    vision = np.minimum(vision, room)
    tokens = text + vision + 2 * pictures
    small = (tokens.astype(np.int32), (4 * vision).astype(np.int32))
    return Columns(np.arange(count), *small, tokens**2, source.astype(np.int8))


def _lognormal(draws: np.random.Generator, of: tuple[float, float, int, int], count: int) -> Ints:
    median, sigma, least, most = of
    sizes = np.rint(median * np.exp(sigma * draws.standard_normal(count)))
    return np.clip(sizes, least, most).astype(np.int64)


def _grids(draws: np.random.Generator, shape: _Shape, count: int) -> Ints:
    """Tokens of grids of rows and columns of about the wanted area."""
    median, sigma, least, most = shape.area
    area = np.clip(median * np.exp(sigma * draws.standard_normal(count)), least, most)
    aspect: Floats = shape.aspect[0] * np.exp(shape.aspect[1] * draws.standard_normal(count))
    rows = np.maximum(1, np.rint(np.sqrt(area / aspect)))
    columns = np.maximum(1, np.rint(np.sqrt(area * aspect)))
    tokens: Ints = np.minimum(rows * columns, most).astype(np.int64)
    return tokens
