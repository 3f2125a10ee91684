"""Boxes and points written into text, each family's way (`[text] regions`).

qwen2_vl      <|object_ref_start|>door<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>
qwen2_5_vl    {"bbox_2d": [1, 2, 3, 4], "label": "door"}   {"point_2d": [1, 2], "label": "door"}
qwen3_vl      the same
internvl      <ref>door</ref><box>[[1, 2, 3, 4]]</box>
deepseek_vl2  <|ref|>door<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>
llava         door [0.1, 0.2, 0.3, 0.4]
fractions     door [0.1, 0.2, 0.3, 0.4]

The numbers are whole thousandths of the picture (of deepseek_vl2 0 to 999), two decimals of the
square that LLaVA pads it to, or three decimals of the picture itself; but of qwen2_5_vl they are
pixels of the resized picture. Those wait for its size: NUMBERS stands for them (`late_text`).
Sources: QwenLM/Qwen3-VL qwen-vl-finetune/tools/process_bbox.ipynb and
cookbooks/spatial_understanding.ipynb; arXiv 2409.12191; InternVL's chat data format;
deepseek-ai/DeepSeek-VL2 README.md and deepseek_vl2/serve/app_modules/utils.py; the data of
LLaVA-1.5, with haotian-liu/LLaVA issue 606.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from schemas.ragged import Floats, Ints
from workers.coordinates import thousandths, whole_shares
from workers.text_config import REGION_NAMES, Regions

NUMBERS = "\ufdd3"
"""In a text: the numbers of a region whose picture has no size yet."""
_MARK = {name: chr(0xFDE0 + index) for index, name in enumerate(REGION_NAMES)}
NAME_OF_MARK = {mark: name for name, mark in _MARK.items()}
MARK = re.compile(f"([{''.join(NAME_OF_MARK)}])")
"""In a text: one character for each special token; no text of a record may hold any of them."""

_TAGS: Mapping[str, tuple[str, str, str, str]] = {
    "qwen2_vl": ("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>"),
    "internvl": ("<ref>", "</ref>", "<box>", "</box>"),
    "deepseek_vl2": ("<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>"),
}
"""Around a label, and around the numbers."""


class Region(NamedTuple):
    """A box (left, top, right, bottom) or a point (x, y) in pixels of an item of its sample."""

    item: int
    label: str
    xy: tuple[float, ...]


def outside(region: Region, wh: Sequence[int]) -> bool:
    """Whether the region leaves its picture."""
    pairs = zip(region.xy[::2], region.xy[1::2], strict=True)
    return any(not (0 <= x <= wh[0] and 0 <= y <= wh[1]) for x, y in pairs)


def written(regions: Sequence[Region], wh: Ints, way: Regions) -> list[str]:
    """The regions as the text has them; `wh` [n, 2] are the sizes of their source pictures.

    What is outside is written as if it stood on the edge: no number overflows.
    """
    counts = [len(region.xy) for region in regions]
    points = np.array([value for region in regions for value in region.xy]).reshape(-1, 2)
    sizes = np.repeat(wh, np.array(counts, np.int64) // 2, axis=0)
    numbers = _numbers(np.clip(points, 0, sizes), sizes, way)
    ends = accumulate(counts)
    return [
        _write(region.label, numbers[end - count : end], way)
        for region, count, end in zip(regions, counts, ends, strict=True)
    ]


def listed(numbers: Sequence[float]) -> str:
    """As they stand between brackets."""
    return ", ".join(map(str, numbers))


def _numbers(points: Floats, wh: Ints, way: Regions) -> list[float]:
    """x, y, x, y, … of points [p, 2] in pictures [p, 2]; those of qwen2_5_vl are not used."""
    if way == "llava":
        side = wh.max(axis=1, keepdims=True)
        shares = ((points + (side - wh) // 2) / side).ravel().tolist()
        return [round(share, 2) for share in shares]
    if way in ("fractions", "auto"):
        return [round(share, 3) for share in (points / wh).ravel().tolist()]
    whole = whole_shares(points, wh, 999) if way == "deepseek_vl2" else thousandths(points, wh)
    return [*whole.ravel().tolist()]


def _write(label: str, numbers: Sequence[float], way: Regions) -> str:
    if way in _TAGS:
        label_start, label_end, start, end = (_MARK[name] for name in _TAGS[way])
        corners = zip(numbers[::2], numbers[1::2], strict=True)
        pairs = ",".join(f"({x},{y})" for x, y in corners)
        said = pairs if way == "qwen2_vl" else f"[[{listed(numbers)}]]"
        named = f"{label_start}{label}{label_end}" if label else ""
        return f"{named}{start}{said}{end}"
    if way in ("qwen2_5_vl", "qwen3_vl"):
        name = "bbox_2d" if len(numbers) == 4 else "point_2d"
        said = NUMBERS if way == "qwen2_5_vl" else listed(numbers)
        more = f', "label": {json.dumps(label, ensure_ascii=False)}' if label else ""
        return f'{{"{name}": [{said}]{more}}}'
    return f"{label} [{listed(numbers)}]" if label else f"[{listed(numbers)}]"
