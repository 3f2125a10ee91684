"""The turns of a record: parts in order, or a text with `<image>` and `<video>` markers."""

from __future__ import annotations

import re
from math import nan
from typing import Any, Literal

from schemas.reasons import Reason
from workers.depth import STEPS_A_METRE
from workers.sources.fields import (
    a_list,
    a_number,
    a_path,
    a_text,
    an_object,
    bad,
    boxes,
    camera,
    corners,
    numbers,
    shown,
    steps_a_metre,
)
from workers.sources.sample import DepthRef, MediaRef, Part, Turn

ROLES = ("system", "user", "assistant", "text")

_MARKER = re.compile("(<image>|<video>)")
_FILE = frozenset({"path", "tar", "member"})
_IMAGE = _FILE | {"type", "boxes"}
_VIDEO = _FILE | {"type", "start", "end"}
_VIEW = _FILE | {"intrinsics", "pose", "depth"}
_DEPTH = _FILE | {"steps_a_metre"}
_VIEWS = frozenset({"type", "convention", "views"})
_TEXT = frozenset({"type", "text"})
_PLACES = ("box", "point")
_PLACE = frozenset({"type", "item", "label"})
_TURN = frozenset({"role", "parts"})
_SHORTHAND = frozenset({"role", "text", "images", "videos"})


def parse_turns(value: Any) -> tuple[tuple[Turn, ...], tuple[MediaRef, ...]]:
    """The turns and the media they name, in order of appearance."""
    media: list[MediaRef] = []
    turns = [_turn(turn, f"turns[{i}]", media) for i, turn in enumerate(a_list(value, "turns"))]
    for i, turn in enumerate(turns):
        if any(part.xy for part in turn.parts):
            _check_places(value[i]["parts"], f"turns[{i}]", len(media))
    if not media and not any(part.text.strip() for turn in turns for part in turn.parts):
        raise bad("turns", "neither text nor media", Reason.EMPTY_SAMPLE)
    return tuple(turns), tuple(media)


def _turn(value: Any, field: str, media: list[MediaRef]) -> Turn:
    shorthand = isinstance(value, dict) and "parts" not in value
    turn = an_object(value, field, _SHORTHAND if shorthand else _TURN)
    role = turn.get("role")
    if role not in ROLES:
        raise bad(f"{field}.role", f"expected one of {', '.join(ROLES)}, found {shown(role)}")
    if shorthand:
        return Turn(role, tuple(_marked(turn, field, media)))
    parts: list[Part] = []
    for i, part in enumerate(a_list(turn["parts"], f"{field}.parts")):
        parts += _part(part, f"{field}.parts[{i}]", media)
    return Turn(role, tuple(parts))


def _part(value: Any, field: str, media: list[MediaRef]) -> list[Part]:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        text = a_text(an_object(value, field, _TEXT).get("text"), f"{field}.text")
        if found := _MARKER.search(text):
            what = f"{found[0]} marks no medium here: media stand in parts of their own"
            raise bad(f"{field}.text", what, Reason.MARKER_WITHOUT_MEDIA)
        return [Part(text)] if text else []
    if kind in _PLACES:
        return [_place(value, field)]
    before = len(media)
    if kind == "image":
        media.append(_image(value, field))
    elif kind == "video":
        media.append(_video(value, field))
    elif kind == "views":
        media.extend(_views(an_object(value, field, _VIEWS), field))
    else:
        what = f"expected text, image, video, views, box or point, found {shown(kind)}"
        raise bad(f"{field}.type", what)
    return [Part("", item) for item in range(before, len(media))]


def _place(value: dict[str, Any], field: str) -> Part:
    """A box or a point where the text names it; its item may also stand behind it."""
    box = value["type"] == "box"
    key = "xyxy" if box else "xy"
    part = an_object(value, field, _PLACE | {key})
    item = part.get("item")
    if isinstance(item, bool) or not isinstance(item, int):
        what = f"expected the number of one of the sample's media, found {shown(item)}"
        raise bad(f"{field}.item", what, Reason.BAD_BOX)
    place = f"{field}.{key}"
    xy = corners(part.get(key), place) if box else numbers(part.get(key), 2, place, Reason.BAD_BOX)
    return Part(a_text(part.get("label", ""), f"{field}.label"), item, xy)


def _check_places(parts: list[Any], field: str, media: int) -> None:
    """Boxes and points lie in media of the sample."""
    for i, part in enumerate(parts):
        if part["type"] in _PLACES and not 0 <= part["item"] < media:
            what = f"{shown(part['item'])} is no number of the sample's {media} media, from 0 on"
            raise bad(f"{field}.parts[{i}].item", what, Reason.BAD_BOX)


def _marked(turn: dict[str, Any], field: str, media: list[MediaRef]) -> list[Part]:
    """`"<image>\\nWhat?"` → the image, then `"\\nWhat?"`: only the marker itself is taken out."""
    pieces = _MARKER.split(a_text(turn.get("text"), f"{field}.text"))
    waiting = {
        "<image>": _shorthand_refs(turn, "images", field),
        "<video>": _shorthand_refs(turn, "videos", field),
    }
    for marker, refs in waiting.items():
        markers = pieces.count(marker)
        if markers != len(refs):
            more = markers > len(refs)
            reason = Reason.MARKER_WITHOUT_MEDIA if more else Reason.MEDIA_WITHOUT_MARKER
            what = f"{markers} {marker} in the text, {len(refs)} in {marker[1:-1]}s"
            raise bad(f"{field}.text", what, reason)
        refs.reverse()
    parts = []
    for piece in pieces:
        if piece in waiting:
            media.append(waiting[piece].pop())
            parts.append(Part("", len(media) - 1))
        elif piece:
            parts.append(Part(piece))
    return parts


def _shorthand_refs(
    turn: dict[str, Any], key: Literal["images", "videos"], field: str
) -> list[MediaRef]:
    read = _image if key == "images" else _video
    values = a_list(turn.get(key, []), f"{field}.{key}")
    return [
        read({"path": ref} if isinstance(ref, str) else ref, f"{field}.{key}[{i}]")
        for i, ref in enumerate(values)
    ]


def _image(value: Any, field: str) -> MediaRef:
    part = _without_camera(value, field, _IMAGE)
    path, member = _file(part, field)
    found = boxes(part["boxes"], f"{field}.boxes") if "boxes" in part else ()
    return MediaRef("image", path, member, field, boxes=found)


def _video(value: Any, field: str) -> MediaRef:
    part = _without_camera(value, field, _VIDEO)
    path, member = _file(part, field)
    start = a_number(part["start"], f"{field}.start") if "start" in part else nan
    end = a_number(part["end"], f"{field}.end") if "end" in part else nan
    if start < 0 or end <= 0 or end <= start:  # false where NaN stands for "none"
        what = f"seconds must be positive and in order, found {start} to {end}"
        raise bad(f"{field}.start", what, Reason.BAD_CLIP)
    return MediaRef("video", path, member, field, clip_start=start, clip_end=end)


def _without_camera(value: Any, field: str, keys: frozenset[str]) -> dict[str, Any]:
    if isinstance(value, dict) and "depth" in value:
        what = "a depth map needs a camera: only the pictures of a views part have one"
        raise bad(f"{field}.depth", what, Reason.BAD_CAMERA)
    return an_object(value, field, keys)


def _views(part: dict[str, Any], field: str) -> list[MediaRef]:
    views = a_list(part.get("views"), f"{field}.views")
    if not views:
        raise bad(f"{field}.views", "is empty")
    return [
        _view(view, part.get("convention"), f"{field}.views[{i}]") for i, view in enumerate(views)
    ]


def _view(value: Any, convention: Any, field: str) -> MediaRef:
    view = an_object(value, field, _VIEW)
    path, member = _file(view, field)
    found = camera(view.get("intrinsics"), view.get("pose"), convention, field)
    depth = _depth(view["depth"], f"{field}.depth") if "depth" in view else None
    return MediaRef("view", path, member, field, camera=found, depth=depth)


def _depth(value: Any, field: str) -> DepthRef:
    part = an_object(value, field, _DEPTH)
    path, member = _file(part, field)
    steps = part.get("steps_a_metre", STEPS_A_METRE)
    return DepthRef(path, member, field, steps_a_metre(steps, f"{field}.steps_a_metre"))


def _file(part: dict[str, Any], field: str) -> tuple[str, str]:
    """Path and tar member of a reference: `path` alone, or `tar` with `member`."""
    if ("path" in part) == ("tar" in part) or ("tar" in part) != ("member" in part):
        raise bad(f"{field}.path", "expected either path, or tar and member")
    if "path" in part:
        return a_path(part["path"], f"{field}.path"), ""
    member = a_text(part["member"], f"{field}.member").removeprefix("./")
    if not member:
        raise bad(f"{field}.member", "is empty")
    return a_path(part["tar"], f"{field}.tar"), member
