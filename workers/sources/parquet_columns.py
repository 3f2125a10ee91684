"""Which columns of a Parquet file are media, text and id: by the recipe, or by type and usual name.

Media are a struct with `bytes` (the Image and Video features of Hugging Face), plain binary, or a
path below the root; each also as a list. A column that the recipe names has to be there; where it
names none, there has to be one choice alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.errors import RecipeError
from workers.sources.beside import CAPTIONS, CONVERSATIONS
from workers.sources.conversations import Role
from workers.sources.extensions import media_kind

_Fits = Callable[[pa.DataType], bool]
MediaForm = Literal["struct", "bytes", "path"]

_PATHS = (
    *("image", "images", "image_path", "image_paths", "file_name", "path"),
    *("video", "videos", "video_path", "video_paths"),
)
_USUAL = re.compile(r"images?|videos?|image_?(?P<number>\d{1,9})|img|jpe?g|png|webp|mp4")
_IDS = ("id", "__key__")


class ParquetOptions(BaseModel):
    """Keys of a source of Parquet files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["parquet"] = "parquet"
    images: tuple[str, ...] = ()
    """Columns of pictures, in the order in which they stand; by default found by type and name."""
    videos: tuple[str, ...] = ()
    """Columns of videos, behind the pictures."""
    caption: str = ""
    """The column of captions; by default `caption`, `text` or `txt`."""
    conversations: str = ""
    """The column of conversations: lists of turns, or JSON; by default `conversations`, `messages`,
    `turns` or `texts`.
    """
    question: str = ""
    """The column of the user's text before a caption, in place of `prompt`."""
    prompt: str = ""
    """The user's text before each caption, behind the media."""
    without_text: Literal["drop", "keep"] = "drop"
    """Rows without any text: `keep` leaves a turn of the user with nothing to learn after it."""
    id: str | None = None
    """The column of ids; by default `id` or `__key__`; "" for `<path>-<row>`."""
    roles: dict[str, Role] = {}
    """More names of roles in conversations."""
    leading_answer: Literal["drop", "skip"] = "drop"
    """A conversation that the assistant begins: `skip` leaves out what it says before the user."""
    max_unpacked_bytes: int = Field(default=1 << 40, ge=1)
    """Most bytes of media that one container may hold."""

    @model_validator(mode="after")
    def _one_kind_of_text(self) -> ParquetOptions:
        if self.caption and self.conversations:
            raise ValueError("caption and conversations exclude each other")
        return self

    @property
    def columns(self) -> dict[str, object]:
        """What shapes the unpacked rows; the other keys only shape how they are read."""
        names = {"images", "videos", "caption", "conversations", "question", "id"}
        return self.model_dump(mode="json", include=names)


@dataclass(frozen=True, slots=True)
class MediaColumn:
    """A column of media."""

    name: str
    kind: Literal["image", "video"]
    form: MediaForm
    is_list: bool


@dataclass(frozen=True, slots=True)
class Columns:
    """What is read of a file; "" = there is none."""

    media: tuple[MediaColumn, ...]
    caption: str
    conversations: str
    question: str
    id: str

    @property
    def texts(self) -> list[str]:
        """All but the media, in no special order."""
        return sorted({self.caption, self.conversations, self.question, self.id} - {""})


def columns_of(schema: pa.Schema, options: ParquetOptions, file: str) -> Columns:
    """The columns of a file. Raises RecipeError naming the file, the key and the file's columns."""
    found = _Found(schema, file)
    media = found.media(options)
    conversations, caption = options.conversations, options.caption
    if conversations:
        found.typed("conversations", conversations, _is_conversation, "lists of turns, or JSON")
    elif caption:
        found.typed("caption", caption, _is_text, "text")
    else:
        conversations = found.usual(CONVERSATIONS, _is_conversation)
        caption = "" if conversations else found.usual((*CAPTIONS, "txt"), _is_text)
    if not (conversations or caption or options.without_text == "keep"):
        raise found.error("caption", "no column of captions or conversations found")
    if not media and not conversations:
        raise found.error("images", "no column of pictures or videos found")
    if options.question:
        found.typed("question", options.question, _is_text, "text")
    if options.id:
        found.typed("id", options.id, _is_id, "text or whole numbers")
    sample_id = found.usual(_IDS, _is_id) if options.id is None else options.id
    return Columns(media, caption, conversations, options.question, sample_id)


class _Found:
    """The columns of one file."""

    def __init__(self, schema: pa.Schema, file: str) -> None:
        self._types = {field.name: field.type for field in schema}
        self._file = file

    def error(self, key: str, what: str) -> RecipeError:
        """One line that also says what there is."""
        listed = ", ".join(f"{name}: {kind}" for name, kind in self._types.items())
        return RecipeError(f"{self._file}: {key}: {what}; its columns: {listed}"[:2000])

    def typed(self, key: str, name: str, fits: _Fits, wanted: str) -> None:
        """Check a column that the recipe names."""
        if name not in self._types:
            raise self.error(key, f"no column {name!r}")
        if not fits(self._types[name]):
            raise self.error(key, f"column {name!r} holds {self._types[name]}, not {wanted}")

    def usual(self, names: Sequence[str], fits: _Fits) -> str:
        """The first of these columns that is there and of the type."""
        return next((name for name in names if fits(self._types.get(name, pa.null()))), "")

    def media(self, options: ParquetOptions) -> tuple[MediaColumn, ...]:
        """The columns of media, in order."""
        if not (options.images or options.videos):
            return self._media_by_type()
        kinds: list[tuple[Literal["image", "video"], tuple[str, ...]]]
        kinds = [("image", options.images), ("video", options.videos)]
        return tuple(
            self._media_column(f"{kind}s", name, kind) for kind, names in kinds for name in names
        )

    def _media_column(self, key: str, name: str, kind: Literal["image", "video"]) -> MediaColumn:
        if name not in self._types:
            raise self.error(key, f"no column {name!r}")
        inner, is_list = _inner(self._types[name])
        form = _form(inner)
        if form is None:
            what = "not pictures or videos: a struct with bytes, binary, or a path"
            raise self.error(key, f"column {name!r} holds {self._types[name]}, {what}")
        return MediaColumn(name, kind, form, is_list)

    def _media_by_type(self) -> tuple[MediaColumn, ...]:
        forms = {name: _form(_inner(kind)[0]) for name, kind in self._types.items()}
        names: list[str] = []
        for form in ("struct", "bytes", "path"):
            names = [name for name, found in forms.items() if found == form]
            if form == "path":
                names = [name for name in _PATHS if name in names][:1]
            if names:
                break
        if len(names) > 1:
            usual = {name: found for name in names if (found := _USUAL.fullmatch(name.lower()))}
            if len(usual) != 1 and not (usual and all(found["number"] for found in usual.values())):
                raise self.error("images", f"which of {', '.join(names)}? name those to be read")
            names = sorted(usual, key=lambda name: int(usual[name]["number"] or 0))
        return tuple(self._media_column("images", name, _kind_by_name(name)) for name in names)


def _kind_by_name(name: str) -> Literal["image", "video"]:
    is_video = name.lower().startswith("video") or media_kind(name) == "video"
    return "video" if is_video else "image"


def _inner(kind: pa.DataType) -> tuple[pa.DataType, bool]:
    """The type of the values of a list, and whether it is one."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    is_list = is_list or pa.types.is_fixed_size_list(kind)
    return (kind.value_type, True) if is_list else (kind, False)


def _form(kind: pa.DataType) -> MediaForm | None:
    if pa.types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        return "struct" if _is_bytes(fields.get("bytes", pa.null())) else None
    if _is_bytes(kind):
        return "bytes"
    return "path" if _is_text(kind) else None


def _is_bytes(kind: pa.DataType) -> bool:
    return kind in (pa.binary(), pa.large_binary(), pa.binary_view())


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def _is_id(kind: pa.DataType) -> bool:
    return _is_text(kind) or bool(pa.types.is_integer(kind))


def _is_conversation(kind: pa.DataType) -> bool:
    inner, is_list = _inner(kind)
    return _is_text(kind) or (is_list and bool(pa.types.is_struct(inner)))
