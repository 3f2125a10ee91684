"""Sizes on request: JSON lines in, `Sized` records out; what `python -m flows geometry` prints.

A line is {"width": ..., "height": ...} with optional `frames` (then it is a video), `fps` of the
file, `video_start` and `video_end` in seconds (or `bound`, both of them), `images` in the sample,
`key` (64 bits that random draws start from), and any setting of the policy, by its own name or the
reference's. Settings may also stand in `params`, which is how a video's sampling `fps` is told from
the file's. Lines of equal settings are sized in one call.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from schemas.errors import RecipeError
from schemas.sized import Media
from schemas.texts import written
from workers.policies.protocol import Policy

Line = Mapping[str, object]
Record = dict[str, Any]

MEDIUM = ("width", "height", "frames", "fps", "video_start", "video_end", "bound", "images", "key")
CLIP = ("video_start", "video_end", "bound")
IGNORED = ("preset",)
"""Free text that names a combination of settings."""


def geometry(policy: Policy, lines: Sequence[Line]) -> list[Record]:
    """One record a line, or `{"drop": reason, "message": sentence}` where there is no geometry."""
    groups: dict[str, list[int]] = {}
    split = []
    for number, line in enumerate(lines):
        medium, settings = _split(line, number)
        split.append((medium, settings))
        key = json.dumps([settings, "frames" in medium], sort_keys=True, default=repr)
        groups.setdefault(key, []).append(number)
    records: list[Record] = [{}] * len(lines)
    for numbers in groups.values():
        medium, settings = split[numbers[0]]
        changed = _changed(policy, settings, "frames" in medium, numbers[0])
        sized = changed.size(_media([split[number][0] for number in numbers], numbers))
        for row, record in enumerate(sized.to_table().to_pylist()):
            texts = [written(text) for text in sized.layout.texts.of(row)]
            records[numbers[row]] = _answer(record | {"texts": texts})
    return records


def _split(line: Line, number: int) -> tuple[Record, Record]:
    """What a line says of its medium, and the settings that it asks for."""
    params = line.get("params", {}) if isinstance(line, Mapping) else None
    if not isinstance(params, Mapping):
        raise RecipeError(f"line {number + 1}: the line and its params must be objects: {line!r}")
    medium = {key: line[key] for key in MEDIUM if key in line}
    medium |= {key: params[key] for key in CLIP if key in params}
    flat = {key: value for key, value in line.items() if key not in (*MEDIUM, "params")}
    settings = flat | {key: value for key, value in params.items() if key not in CLIP}
    return medium, {key: value for key, value in settings.items() if key not in IGNORED}


def _changed(policy: Policy, settings: Record, video: bool, number: int) -> Policy:
    """The policy with these settings in place of its own."""
    names = {**policy.NAMES.aliases, **(policy.NAMES.video_aliases if video else {})}
    fields = {names.get(key, key): value for key, value in settings.items()}
    stated = {key: fields.pop(key) for key in policy.NAMES.derived if key in fields}
    try:
        changed = type(policy).model_validate(policy.model_dump(exclude_unset=True) | fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "settings"
        known = "no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise RecipeError(f"line {number + 1}: {name}: {known} ({policy.kind})") from error
    for key, value in stated.items():
        if value != (follows := getattr(changed, key)):
            raise RecipeError(f"line {number + 1}: {key} {value!r}: it is {follows!r}")
    return changed


def _media(lines: Sequence[Record], numbers: Sequence[int]) -> Media:
    """The lines as columns; all pictures or all videos."""
    rows = list(zip(lines, numbers, strict=True))
    bounds = [_bounds(line, number) for line, number in rows]
    kind = "video" if "frames" in lines[0] else "image"

    def whole(name: str, default: int | None) -> np.typing.NDArray[np.int64]:
        values = [_whole(line.get(name, default), name, number) for line, number in rows]
        return np.array(values, np.int64)

    def real(values: list[tuple[object, str]]) -> np.typing.NDArray[np.float64]:
        pairs = zip(values, numbers, strict=True)
        return np.array([_real(value, name, number) for (value, name), number in pairs])

    return Media(
        kind=np.full(len(lines), kind, dtype=object),
        width=whole("width", None),
        height=whole("height", None),
        frames=whole("frames", 1),
        fps=real([(line.get("fps", 0.0), "fps") for line in lines]),
        clip_start=real([(bound[0], "video_start") for bound in bounds]),
        clip_end=real([(bound[1], "video_end") for bound in bounds]),
        images=whole("images", 1),
        key=whole("key", 0).astype(np.uint64),
    )


def _bounds(line: Record, number: int) -> tuple[object, object]:
    bound = line.get("bound")
    if bound is None:
        return line.get("video_start"), line.get("video_end")
    if not isinstance(bound, list | tuple) or len(bound) != 2:
        raise RecipeError(f"line {number + 1}: bound must be two numbers, not {bound!r}")
    return bound[0], bound[1]


def _whole(value: object, name: str, number: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise RecipeError(f"line {number + 1}: {name} must be a whole number, not {value!r}")
    return max(-(2**62), min(value, 2**62))


def _real(value: object, name: str, number: int) -> float:
    if value is None:
        return np.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"line {number + 1}: {name} must be a number, not {value!r}")
    return float(max(-(2**62), min(value, 2**62)) if isinstance(value, int) else value)


def _answer(record: Record) -> Record:
    """The record as it is printed: a refusal without geometry is the refusal alone."""
    if record["drop"] is None or record["grid_thw"]:
        return record
    return {"drop": record["drop"], "message": record["message"]}
