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
from typing import NamedTuple

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
    pairs = tuple(zip(region.xy[::2], region.xy[1::2], strict=True))
    return any(not (0 <= x <= wh[0] and 0 <= y <= wh[1]) for x, y in pairs)


def write(region: Region, wh: Sequence[int], way: Regions) -> str:
    """The region as the text has it; `wh` is the size of the source picture."""
    if way in _TAGS:
        return _tagged(region, wh, way)
    if way in ("qwen2_5_vl", "qwen3_vl"):
        name = "bbox_2d" if len(region.xy) == 4 else "point_2d"
        numbers = NUMBERS if way == "qwen2_5_vl" else listed(thousandths(region.xy, wh).tolist())
        label = json.dumps(region.label, ensure_ascii=False)
        return f'{{"{name}": [{numbers}]' + (f', "label": {label}}}' if region.label else "}")
    shares = _of_square(region.xy, wh) if way == "llava" else _of_picture(region.xy, wh)
    return f"{region.label} [{listed(shares)}]" if region.label else f"[{listed(shares)}]"


def listed(numbers: Sequence[float]) -> str:
    """Between their brackets."""
    return ", ".join(map(str, numbers))


def _tagged(region: Region, wh: Sequence[int], way: str) -> str:
    label_start, label_end, start, end = (_MARK[name] for name in _TAGS[way])
    label = f"{label_start}{region.label}{label_end}" if region.label else ""
    whole = whole_shares(region.xy, wh, 999 if way == "deepseek_vl2" else 1000).tolist()
    if way == "qwen2_vl":
        corners = zip(whole[::2], whole[1::2], strict=True)
        numbers = ",".join(f"({x},{y})" for x, y in corners)
    else:
        numbers = f"[[{listed(whole)}]]"
    return f"{label}{start}{numbers}{end}"


def _of_square(xy: Sequence[float], wh: Sequence[int]) -> list[float]:
    """Shares of the square that `expand2square` makes around the picture."""
    side = max(wh)
    margins = [(side - length) // 2 for length in wh] * 2
    return [round((value + more) / side, 2) for value, more in zip(xy, margins, strict=False)]


def _of_picture(xy: Sequence[float], wh: Sequence[int]) -> list[float]:
    return [round(value / length, 3) for value, length in zip(xy, [*wh] * 2, strict=False)]
