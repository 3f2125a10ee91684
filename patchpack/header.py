"""The header of a pack: fixed keys in a fixed order, never null, columnar lists.

Generic readers infer one type for each key from the first packs that they see. So a key never
changes its type, a float is always written with a point, and most numeric columns that can be empty
(an empty list has no type) lie in the safetensors member instead.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import chain, pairwise
from typing import Any, Literal

from patchpack.container import Buffer, FormatError, are_sizes, parse_json

FORMAT = 1
MAX_HEADER_BYTES = 64 << 20

ITEM_KINDS = ("image", "video", "view")
TENSOR_NAME = re.compile(r"(image|feature)\.([0-9]{5})")
_KEY = re.compile(r"[0-9A-Za-z_-]{1,88}")

Kind = Literal["int", "bool", "str", "cost", "[int]", "[str]", "[float]", "[[int]]"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """The additive cost vector of a pack."""

    tokens: int
    patches: int
    attention: int
    vit_attention: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The keys of `<key>.json` in their order: n samples, m items. Meanings: docs/format.md."""

    format: int = FORMAT
    key: str
    filler: bool
    lane: int
    row: int
    length: int
    cost: Cost
    cu_seqlens: list[int]  # n + 1
    loss_tokens: list[int]  # n
    sample_id: list[str]
    source: list[str]
    origin: list[str]
    sha256: list[str]  # m, from here on
    item_sample: list[int]
    item_kind: list[str]
    item_start: list[int]
    item_length: list[int]
    item_tensor: list[str]
    item_format: list[str]
    item_source_wh: list[list[int]]
    item_resized_wh: list[list[int]]
    policy: list[str]
    merge: list[int]
    seconds_per_grid: list[float]
    positions: str
    recipe: str

    @property
    def samples(self) -> int:
        """Number of samples, n."""
        return len(self.cu_seqlens) - 1

    @property
    def items(self) -> int:
        """Number of pictures, views and videos, m."""
        return len(self.item_sample)


COST_KEYS = tuple(field.name for field in fields(Cost))
SAMPLE_COLUMNS = ("loss_tokens", "sample_id", "source", "origin")
ITEM_COLUMNS = (
    *("sha256", "item_sample", "item_kind", "item_start", "item_length", "item_tensor"),
    *("item_format", "item_source_wh", "item_resized_wh", "policy", "merge", "seconds_per_grid"),
)
HEADER_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("format", "lane", "row", "length"), "int"),
    **dict.fromkeys(("key", "positions", "recipe"), "str"),
    "filler": "bool",
    "cost": "cost",
    **dict.fromkeys(("cu_seqlens", "loss_tokens", "item_sample"), "[int]"),
    **dict.fromkeys(("item_start", "item_length", "merge"), "[int]"),
    **dict.fromkeys(("sample_id", "source", "origin", "sha256", "policy"), "[str]"),
    **dict.fromkeys(("item_kind", "item_tensor", "item_format"), "[str]"),
    **dict.fromkeys(("item_source_wh", "item_resized_wh"), "[[int]]"),
    "seconds_per_grid": "[float]",
}
HEADER_KINDS = {field.name: HEADER_KINDS[field.name] for field in fields(Header)}
"""The type of each key, in written order; `[[int]]` rows are pairs [width, height]."""


def to_json(header: Header) -> bytes:
    """`header` as the bytes of its member: UTF-8, no spaces.

    Raises FormatError naming the pack and the key if it is no valid header.
    """
    check_header(header)
    return f"{{{','.join(_member(header, name) for name in HEADER_KINDS)}}}".encode()


def from_json(data: Buffer) -> Header:
    """The header in these bytes. Raises FormatError naming the pack and the key."""
    if len(data) > MAX_HEADER_BYTES:
        raise FormatError(f"header of {len(data)} bytes, at most {MAX_HEADER_BYTES}")
    return from_object(parse_json(data))


def from_object(value: dict[str, Any]) -> Header:
    """The header in an object read from JSON. Raises FormatError naming the pack and the key."""
    key = value.get("key")
    if value.get("format") != FORMAT:
        raise _error(key, "format", f"is {value.get('format')!r:.40}, this reader knows {FORMAT}")
    if value.keys() != HEADER_KINDS.keys():
        raise _error(key, "keys", f"missing or unknown: {sorted(value.keys() ^ HEADER_KINDS)[:5]}")
    cost = value["cost"]
    if not isinstance(cost, dict) or cost.keys() != set(COST_KEYS):
        raise _error(key, "cost", f"expected {COST_KEYS}")
    header = Header(**{**value, "cost": Cost(**cost)})
    check_header(header)
    return header


def check_header(header: Header) -> None:
    """Types, lengths and the relations between the keys. Raises FormatError naming pack and key."""
    for name, kind in HEADER_KINDS.items():
        if not _OF_KIND[kind](getattr(header, name)):
            raise _error(header.key, name, f"is not {kind}")
    problem = _problem(header) or _item_problem(header)
    if problem:
        raise _error(header.key, *problem)


def _error(key: object, name: str, what: str) -> FormatError:
    return FormatError(f"pack {key if isinstance(key, str) else '?'!s:.100}: {name}: {what}")


def _member(header: Header, name: str) -> str:
    value = getattr(header, name)
    if name == "cost":
        value = {cost: getattr(value, cost) for cost in COST_KEYS}
    if name == "seconds_per_grid":
        return f'"{name}":[{",".join(map(_number, value))}]'
    return f'"{name}":{json.dumps(value, separators=(",", ":"), ensure_ascii=False)}'


def _number(value: float) -> str:
    # 1e-05 is a float to Python but an integer to some readers' type inference
    text = repr(value)
    return text if "." in text else text.replace("e", ".0e")


def _ints(values: object) -> bool:
    return are_sizes(values, 1 << 63)


def _strings(values: object) -> bool:
    if not isinstance(values, list) or not set(map(type, values)) <= {str}:
        return False
    text = "".join(values)
    # a lone surrogate can be written in JSON but not in UTF-8
    return text.isascii() or not re.search("[\ud800-\udfff]", text)


def _floats(values: object) -> bool:
    if not isinstance(values, list) or not set(map(type, values)) <= {float}:
        return False
    return all(0.0 <= value < math.inf for value in values)


def _pairs(values: object) -> bool:
    if not isinstance(values, list) or not set(map(type, values)) <= {list}:
        return False
    return set(map(len, values)) <= {2} and _ints(list(chain.from_iterable(values)))


_OF_KIND: dict[Kind, Callable[[Any], bool]] = {
    "int": lambda value: _ints([value]),
    "bool": lambda value: type(value) is bool,
    "str": lambda value: _strings([value]),
    "cost": lambda cost: _ints([getattr(cost, name) for name in COST_KEYS]),
    "[int]": _ints,
    "[str]": _strings,
    "[float]": _floats,
    "[[int]]": _pairs,
}


def _problem(h: Header) -> tuple[str, str] | None:
    if not _KEY.fullmatch(h.key):
        return "key", "expected 1 to 88 letters, digits, dashes or underscores"
    bounds = h.cu_seqlens
    if not bounds or bounds[0] != 0 or bounds[-1] != h.length or h.length >= 1 << 31:
        return "cu_seqlens", f"expected from 0 to the length, {h.length}, below 2**31"
    if any(a >= b for a, b in pairwise(bounds)):
        return "cu_seqlens", "does not increase"
    if h.filler != (h.samples == 0):
        return "filler", f"is {h.filler} with {h.samples} samples"
    for name in SAMPLE_COLUMNS:
        if len(getattr(h, name)) != h.samples:
            return name, f"has {len(getattr(h, name))} values for {h.samples} samples"
    for name in ITEM_COLUMNS:
        if len(getattr(h, name)) != h.items:
            return name, f"has {len(getattr(h, name))} values for {h.items} items"
    return None


def _item_problem(h: Header) -> tuple[str, str] | None:
    samples = [*h.item_sample, h.samples - 1]
    if any(a > b for a, b in pairwise(samples)):
        return "item_sample", f"expected ascending, below {h.samples}"
    for item, sample in enumerate(h.item_sample):
        start, length = h.item_start[item], h.item_length[item]
        low, high = h.cu_seqlens[sample : sample + 2]
        if length < 1 or start < low or start + length > high:
            return "item_start", f"item {item} spans {start}+{length}, its sample {low}:{high}"
        if h.item_kind[item] not in ITEM_KINDS:
            return "item_kind", f"item {item} is none of {ITEM_KINDS}"
        if not TENSOR_NAME.fullmatch(h.item_tensor[item]):
            return "item_tensor", f"item {item}: expected image.NNNNN or feature.NNNNN"
        if h.merge[item] < 1:
            return "merge", f"item {item}: expected at least 1"
    return None
