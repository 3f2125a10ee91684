"""What a sample of pictures beside text says, as turns: a caption, or a conversation.

A caption is the answer to a turn of the user that shows the media and may ask something. A
conversation is a list of turns in any of these forms, with `<image>` and `<video>` where media
stand (`workers.sources.conversations` has the rules); where none is marked, all stand in front:

    {"from": "human", "value": "<image>\\nSo?"}             LLaVA, InternVL
    {"role": "user", "content": "<image>\\nSo?"}            chat messages
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "So?"}]}
    {"user": "So?", "assistant": "So."}                    question and answer
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from schemas.reasons import Reason
from workers.faults import Fault
from workers.sources.conversations import ConversationOptions, Parsed, parse_conversation
from workers.sources.fields import a_list, a_text, bad, named
from workers.sources.json_text import BOM
from workers.sources.sample import MediaRef, Part, Turn

MAX_TEXT_BYTES = 16 << 20
"""Of one text or JSON file, and of one cell of a table."""

_AS_WRITTEN = ConversationOptions()
_MARKER = re.compile("<image>|<video>")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_MARKER_OF = {"image": "<image>", "image_url": "<image>", "video": "<video>"}


@dataclass(frozen=True, slots=True)
class Told:
    """The text that belongs to a sample; at most one of caption and conversation is used."""

    caption: str | None = None
    question: str | None = None
    conversation: Any = None
    field: str = ""
    """Where it was found, or where it was looked for, for messages."""


@dataclass(frozen=True, slots=True)
class Telling:
    """How text becomes turns: options that several formats share."""

    prompt: str
    without_text: Literal["drop", "keep"]
    conversations: ConversationOptions


def turns_of(told: Told, media: Sequence[MediaRef], telling: Telling) -> Parsed:
    """The turns, and the media in order of appearance. Raises Fault."""
    images = [ref for ref in media if ref.kind == "image"]
    videos = [ref for ref in media if ref.kind == "video"]
    if told.conversation is not None:
        said = _as_said(told.conversation, told.field)
        return parse_conversation(said, images, videos, telling.conversations)
    if told.caption and not told.caption.isspace():
        if not media:
            what = "a caption, but no picture or video"
            raise bad(told.field, what, Reason.MISSING_MEDIA)
        if found := _MARKER.search(told.caption):
            what = f"{found[0]} marks no medium in an answer"
            raise bad(told.field, what, Reason.MARKER_WITHOUT_MEDIA)
        answer = [Turn("assistant", (Part(told.caption),))]
    elif media and telling.without_text == "keep":
        answer = []
    else:
        raise bad(told.field, "no text" if media else "neither text nor media", Reason.EMPTY_SAMPLE)
    asked = telling.prompt if told.question is None else told.question
    if _MARKER.search(asked):
        user = [{"from": "user", "value": asked}]
        turns, shown = parse_conversation(user, images, videos, _AS_WRITTEN)
        return (*turns, *answer), shown
    front = [Part("", item) for item in range(len(media))]
    if asked:
        front.append(Part(f"\n{asked}"))
    return (Turn("user", tuple(front)), *answer), (*images, *videos)


def _as_said(value: Any, field: str) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    pictures = 0
    for i, turn in enumerate(a_list(value, field)):
        place = f"{field}[{i}]"
        if not isinstance(turn, dict):
            raise bad(place, f"expected an object, found {named(turn)}")
        if turn.get("from") is not None:
            said.append({"from": turn["from"], "value": turn.get("value")})
        elif turn.get("role") is not None:
            key = "content" if turn.get("content") is not None else "text"
            text, pictures = _content(turn.get(key), f"{place}.{key}", pictures)
            said.append({"from": turn["role"], "value": text})
        elif "user" in turn and "assistant" in turn:
            said += [{"from": role, "value": turn[role]} for role in ("user", "assistant")]
        else:
            raise bad(place, "expected from and value, role and content, or user and assistant")
    return said


def _content(value: Any, field: str, pictures: int) -> tuple[str, int]:
    """A content of parts as a text with markers; pictures are counted over all turns, since some
    data state the place of each.
    """
    if not isinstance(value, list):
        return a_text(value, field), pictures
    pieces = []
    for i, part in enumerate(value):
        place = f"{field}[{i}]"
        if not isinstance(part, dict):
            raise bad(place, f"expected an object, found {named(part)}")
        marker = _MARKER_OF.get(str(part.get("type")))
        if marker is None:
            pieces.append(a_text(part.get("text"), f"{place}.text"))
            continue
        if isinstance(index := part.get("index"), int) and index != pictures:
            raise bad(f"{place}.index", f"media stand in order, expected {pictures}, found {index}")
        pieces.append(marker)
        pictures += 1
    return "".join(pieces), pictures


def decoded(data: bytes, field: str) -> str:
    """A text file's text, without blanks around it."""
    try:
        return data.removeprefix(BOM).decode().strip()
    except UnicodeDecodeError as error:
        raise bad(field, f"not UTF-8: {error.reason}") from error


def parsed(data: bytes, field: str) -> Any:
    """A JSON value. NaN passes, as metadata are full of it; half a character cannot be stored."""
    try:
        value = json.loads(data.removeprefix(BOM).decode())
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        what = f"not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        raise bad(field, what) from error
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise bad(field, f"not UTF-8: {error.reason}") from error
    except RecursionError as error:
        raise bad(field, "not JSON: nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise bad(field, f"not JSON: {error}") from error
    return value


def too_long(size: int, field: str) -> Fault:
    """The fault of a text over MAX_TEXT_BYTES."""
    return bad(field, f"{size} bytes, over the limit of {MAX_TEXT_BYTES}")
