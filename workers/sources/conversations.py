"""Conversations as LLaVA and InternVL write them: `{"from", "value"}` turns with media markers.

`<image>` and `<video>` stand where the media named beside the conversation belong, in order, in any
turn; only the marker leaves the text. Without any marker, all media stand in front of the first
turn of the user, then a line end. Where a record has videos and no image, `<image>` stands for a
video, as in LLaVA-NeXT's own data. `<ref>`, `<box>` and all else stay text.
Sources: haotian-liu/LLaVA and LLaVA-VL/LLaVA-NeXT llava/train/train.py (`preprocess_v1`,
`_get_item`), OpenGVLab/InternVL internvl_chat/internvl/train/internvl_chat_finetune.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from schemas.reasons import Reason
from workers.faults import Fault
from workers.sources.fields import (
    a_list,
    a_path,
    a_text,
    an_id,
    bad,
    named,
    numbers,
    place_id,
    shown,
)
from workers.sources.json_text import RecordText, decode
from workers.sources.sample import MediaRef, Part, Sample, Turn

Role = Literal["system", "user", "assistant", "text"]

ROLES: dict[str, Role] = {
    "human": "user",
    "gpt": "assistant",
    "system": "system",
    "user": "user",
    "assistant": "assistant",
}
"""What `from` may say, beside the recipe's own names."""

_MARKER = re.compile("(<image>|<video>)")


class ConversationOptions(BaseModel):
    """Keys of a source of conversations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: dict[str, Role] = {}
    """More names of roles in the data, or other meanings of those in ROLES."""
    leading_answer: Literal["drop", "skip"] = "drop"
    """A conversation that the assistant begins: `skip` leaves out what it says before the user, as
    the code of LLaVA and InternVL leaves out the first turn.
    """
    ids: Literal["data", "position"] = "data"
    """`position`: the ids of the data are no names of samples, such as those of LLaVA's mixtures,
    which repeat; `<file>-<number>` takes their place.
    """


def sample_of(
    record: RecordText, path: str, options: ConversationOptions, *, clips: bool = False
) -> Sample:
    """The sample of one record of the file at `path`; with `clips`, `clip` cuts its video."""
    sample_id = place_id(path, record.number)
    try:
        fields = decode(record)
        if options.ids == "data" and fields.get("id") is not None:
            sample_id = an_id(fields["id"])
        images, videos = media_of(fields, "image"), media_of(fields, "video")
        if clips and fields.get("clip"):
            videos = _clipped(videos, fields["clip"])
        if not fields.get("conversations") and "text" in fields:
            turns, media = parse_document(fields["text"], images, videos)
        else:
            turns, media = parse_conversation(fields.get("conversations"), images, videos, options)
        return Sample(sample_id, turns, media)
    except Fault as fault:
        message = f"{record.place}: {fault.message}"
        return Sample(sample_id, drop=fault.reason, message=message)


def media_of(fields: dict[str, Any], key: Literal["image", "video"]) -> list[MediaRef]:
    """The media under one key: a path or a list of them; null and "" are none."""
    value = fields.get(key)
    if isinstance(value, list):
        return [_ref(key, path, f"{key}[{i}]") for i, path in enumerate(value)]
    return [] if value is None or value == "" else [_ref(key, value, key)]


def _ref(kind: Literal["image", "video"], path: Any, field: str) -> MediaRef:
    return MediaRef(kind, a_path(path, field), "", field)


def _clipped(videos: list[MediaRef], clip: Any) -> list[MediaRef]:
    if len(videos) != 1:
        raise bad("clip", f"cuts one video, found {len(videos)}", Reason.BAD_CLIP)
    start, end = numbers(clip, 2, "clip", Reason.BAD_CLIP)
    if not 0 <= start < end:
        what = f"seconds must be positive and in order, found {start} to {end}"
        raise bad("clip", what, Reason.BAD_CLIP)
    return [replace(videos[0], clip_start=start, clip_end=end)]


Said = tuple[Role, list[str]]
"""A turn: who speaks; texts with the markers between them."""
Parsed = tuple[tuple[Turn, ...], tuple[MediaRef, ...]]
"""Turns, and their media in order of appearance."""


def parse_conversation(
    value: Any,
    images: Sequence[MediaRef],
    videos: Sequence[MediaRef],
    options: ConversationOptions,
) -> Parsed:
    """The turns of a list of `{"from", "value"}` with these media in their places."""
    said = [_said(turn, i, options) for i, turn in enumerate(a_list(value, "conversations"))]
    marked = any(len(pieces) > 1 for _, pieces in said)
    said = _without_leading_answer(said, options)
    if not marked and (images or videos):
        said = _with_markers_in_front(said, len(images), len(videos))
    return _placed(said, images, videos, "conversations")


def parse_document(value: Any, images: Sequence[MediaRef], videos: Sequence[MediaRef]) -> Parsed:
    """A plain text with these media in their places, or in front."""
    said: list[Said] = [("text", _MARKER.split(a_text(value, "text")))]
    if len(said[0][1]) == 1:
        said = _with_markers_in_front(said, len(images), len(videos))
    return _placed(said, images, videos, "text")


def _said(turn: Any, index: int, options: ConversationOptions) -> Said:
    field = f"conversations[{index}]"
    if not isinstance(turn, dict):
        raise bad(field, f"expected an object, found {named(turn)}")
    speaker = a_text(turn.get("from"), f"{field}.from")
    role = options.roles.get(speaker) or ROLES.get(speaker)
    if role is None:
        names = ", ".join(sorted({*ROLES, *options.roles}))
        raise bad(f"{field}.from", f"expected one of {names}, found {shown(speaker)}")
    return role, _MARKER.split(a_text(turn.get("value"), f"{field}.value"))


def _without_leading_answer(said: list[Said], options: ConversationOptions) -> list[Said]:
    """The system's words, and what follows from the first turn on that is no answer."""
    first = next((i for i, (role, _) in enumerate(said) if role != "system"), None)
    if first is None or said[first][0] != "assistant":
        return said
    if options.leading_answer == "drop":
        what = 'the assistant speaks first (leading_answer = "skip" would leave that out)'
        raise bad(f"conversations[{first}].from", what)
    answers = takewhile(lambda turn: turn[0] == "assistant", said[first:])
    return said[:first] + said[first + len(list(answers)) :]


def _with_markers_in_front(said: list[Said], images: int, videos: int) -> list[Said]:
    """Markers of all media before the first turn of the user, or before a document."""
    if not images and not videos:
        return said
    first = next((i for i, (role, _) in enumerate(said) if role in ("user", "text")), None)
    if first is None:
        what = "media without a marker, and no turn of the user to put them in"
        raise bad("conversations", what, Reason.MEDIA_WITHOUT_MARKER)
    role, pieces = said[first]
    text = "".join(pieces)
    markers = ["<image>"] * images + ["<video>"] * videos
    front: Said = role, [*markers, f"\n{text}" if text else ""]
    return [*said[:first], front, *said[first + 1 :]]


def _placed(
    said: list[Said], images: Sequence[MediaRef], videos: Sequence[MediaRef], field: str
) -> Parsed:
    found = [piece for _, pieces in said for piece in pieces]
    waiting = {"<image>": list(images), "<video>": list(videos)}
    if videos and not images and "<image>" in found and "<video>" not in found:
        waiting = {"<image>": list(videos)}
    for marker, refs in waiting.items():
        _check_count(marker, found.count(marker), len(refs), field)
        refs.reverse()
    turns, media = [], []
    for role, pieces in said:
        parts = []
        for piece in pieces:
            if piece in waiting:
                media.append(waiting[piece].pop())
                parts.append(Part("", len(media) - 1))
            elif piece:
                parts.append(Part(piece))
        turns.append(Turn(role, tuple(parts)))
    if not media and not any(text.strip() for text in found):
        raise bad(field, "neither text nor media", Reason.EMPTY_SAMPLE)
    return tuple(turns), tuple(media)


def _check_count(marker: str, markers: int, media: int, field: str) -> None:
    if markers != media:
        more = markers > media
        reason = Reason.MARKER_WITHOUT_MEDIA if more else Reason.MEDIA_WITHOUT_MARKER
        raise bad(field, f"{markers} {marker} for {media} media", reason)
