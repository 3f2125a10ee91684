"""Which pictures of a sample a model is shown: each still one, and of a video some frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, sqrt
from typing import Any

Item = Mapping[str, Any]
"""A row of ITEM."""


@dataclass(frozen=True)
class Shown:
    """One picture at the size that it is drawn: of a video a frame, else frame -1."""

    item: int
    frame: int
    width: int
    height: int


def shown_of(items: Sequence[Item], pixels: Sequence[int], frames: int) -> list[Shown]:
    """All of a sample, each of at most so many pixels and never enlarged; of a video `frames` in
    the middles of equal parts of its clip.
    """
    return [
        one
        for number, (item, most) in enumerate(zip(items, pixels, strict=True))
        for one in _of_item(number, item, most, frames)
    ]


def drawn_at(number: int, item: Item, pixels: int, frame: int) -> Shown:
    """An item of a sample, or a frame of it, with at most so many pixels."""
    width, height = int(item["width"]), int(item["height"])
    scale = min(1.0, sqrt(pixels / (width * height)))
    return Shown(number, frame, max(1, int(width * scale)), max(1, int(height * scale)))


def clip_of(item: Item) -> tuple[int, int]:
    """First frame of a video's clip, and the one after its last; at least one frame."""
    count, fps = int(item["frames"]), float(item["fps"])
    start, end = float(item["clip_start"]), float(item["clip_end"])
    first = 0 if isnan(start) else min(int(start * fps), count - 1)
    last = count if isnan(end) else min(int(end * fps), count)
    return first, max(last, first + 1)


def _of_item(number: int, item: Item, pixels: int, frames: int) -> Iterator[Shown]:
    if item["kind"] != "video":
        yield drawn_at(number, item, pixels, -1)
        return
    start, end = clip_of(item)
    count = min(frames, end - start)
    for place in range(count):
        middle = start + (2 * place + 1) * (end - start) // (2 * count)
        yield drawn_at(number, item, pixels, middle)
