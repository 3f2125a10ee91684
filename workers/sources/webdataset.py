"""WebDataset tars, as img2dataset writes them: files of one name but for the ending are a sample.

    000000012.jpg    000000012.txt    000000012.json     a picture, its caption, its metadata
    000000013.0.jpg  000000013.1.jpg  000000013.json     two pictures, and a conversation

1. `index`: the headers alone, once a tar: every member's sample, extension and byte range.
2. `plan`: runs of whole samples of the index.
3. `read`: of a run, the text members by their ranges; media stay where they are, known by range.
Members of a sample may lie anywhere in the tar. Names are keys, never paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from schemas.errors import BuildError
from schemas.reasons import Reason
from workers.faults import Fault
from workers.sources.beside import Beside, Places, TextFile, extensions
from workers.sources.block import Block
from workers.sources.conversations import ConversationOptions, Role
from workers.sources.extensions import media_kind
from workers.sources.fields import an_id, bad
from workers.sources.sample import MediaRef, Sample
from workers.sources.tar_members import Member, index, members_of
from workers.sources.told import MAX_TEXT_BYTES, Telling, turns_of

if TYPE_CHECKING:
    from workers.storage.folder import Folder

__all__ = ["WebdatasetOptions", "index", "plan", "read"]

_NUMBERED = re.compile(
    r"(?:(img|image|frame|page|view|video|clip|)[._-]?(\d{1,9})\.)?[^.]+", re.ASCII
)
_READ_BYTES = 8 << 20
"""Text that is held at once, beside that of one sample."""


class WebdatasetOptions(BaseModel):
    """Keys of a source of WebDataset tars."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["webdataset"] = "webdataset"
    media: tuple[str, ...] = ()
    """Extensions of the media, in the order in which they stand; by default the plain and numbered
    ones (`jpg`; `0.jpg`, `img0.jpg`) in the order of their numbers, and no other (`mask.png`).
    """
    caption: str = ""
    """Where the caption is: an extension, or `json:` and a field."""
    conversations: str = ""
    """Where the conversation is: `json` (all of it), or `json:` and a field."""
    question: str = ""
    """Where the user's text before a caption is, in place of `prompt`."""
    prompt: str = ""
    """The user's text before each caption, behind the media."""
    without_text: Literal["drop", "keep"] = "drop"
    """Samples without any text: `keep` leaves a turn of the user with nothing to learn after it."""
    id: str = ""
    """`key`, or `json:` and a field; by default `<path of the tar>/<key>`, as keys often repeat."""
    roles: dict[str, Role] = {}
    """More names of roles in conversations."""
    leading_answer: Literal["drop", "skip"] = "drop"
    """A conversation that the assistant begins: `skip` leaves out what it says before the user."""
    max_unpacked_bytes: int = Field(default=1 << 40, ge=1)
    """Most bytes that a .tar.gz may unpack to."""

    @field_validator("media")
    @classmethod
    def _are_media(cls, media: tuple[str, ...]) -> tuple[str, ...]:
        for extension in media:
            if media_kind(extension) is None:
                raise ValueError(f"{extension!r} ends in no extension of a picture or video")
        return media

    @model_validator(mode="after")
    def _one_kind_of_text(self) -> WebdatasetOptions:
        if self.caption and self.conversations:
            raise ValueError("caption and conversations exclude each other")
        return self


def plan(table: pa.Table, path: str, samples_per_block: int) -> list[Block]:
    """The indexed samples in blocks of so many; `start` and `end` are rows of the index."""
    numbers = table.column("sample").to_numpy()
    count = int(numbers[-1]) + 1 if len(numbers) else 0
    bounds = [*range(0, count, samples_per_block), count]
    rows = [int(row) for row in numbers.searchsorted(bounds)]
    return [
        Block(path, rows[i], rows[i + 1], bounds[i], bounds[i + 1] - bounds[i], "")
        for i in range(len(bounds) - 1)
    ]


def read(
    folder: Folder, block: Block, options: WebdatasetOptions, table: pa.Table, at: str = ""
) -> Iterator[tuple[Sample, str]]:
    """The samples of a block, each with its origin; `table` is the index of the whole tar.

    `at` is where the tar's bytes lie in `folder`, if not at `block.path`: the copy of a .tar.gz.
    """
    tar = _Tar(block.path, options)
    rows = members_of(table, block.start, block.end)
    samples = [list(members) for _, members in groupby(rows, attrgetter("sample"))]
    number = block.first_row
    for batch in _batches(samples, tar):
        texts = [text for _, texts in batch for text in texts]
        data = folder.read_ranges(at or block.path, [(text.offset, text.size) for text in texts])
        if any(len(found) != text.size for found, text in zip(data, texts, strict=True)):
            raise BuildError(f"{folder.url}/{block.path} changed while the build read it")
        by_offset = {text.offset: found for text, found in zip(texts, data, strict=True)}
        for members, _ in batch:
            origin = f"{block.path}#{members[0].offset}+{members[0].size}"
            yield tar.sample(members, by_offset, number), origin
            number += 1


_Batch = list[tuple[list[Member], list[Member]]]


def _batches(samples: Sequence[list[Member]], tar: _Tar) -> Iterator[_Batch]:
    """Samples with the texts to read of each, in runs of a few megabytes of text."""
    batch: _Batch = []
    held = 0
    for members in samples:
        texts = [m for m in members if tar.is_text(m) and m.size <= MAX_TEXT_BYTES]
        size = sum(text.size for text in texts)
        if batch and held + size > _READ_BYTES:
            yield batch
            batch, held = [], 0
        batch.append((members, texts))
        held += size
    if batch:
        yield batch


class _Tar:
    """How the members of one tar become samples."""

    def __init__(self, path: str, options: WebdatasetOptions) -> None:
        self._path = path
        self._stem = re.sub(r"\.(tar|tgz|tar\.gz)$", "", path)
        self._options = options
        self._places = Places(options.caption, options.conversations, options.question)
        self._id = "" if options.id == "key" else options.id
        self._texts = extensions(self._places, [self._id])
        talk = ConversationOptions(roles=options.roles, leading_answer=options.leading_answer)
        self._telling = Telling(options.prompt, options.without_text, talk)

    def is_text(self, member: Member) -> bool:
        """Whether what is said may stand in it."""
        return member.reason is None and member.extension.lower() in self._texts

    def sample(self, members: Sequence[Member], data: Mapping[int, bytes], number: int) -> Sample:
        """The sample of these members; `data` has the texts by their offsets."""
        key = members[0].key
        sample_id = f"{self._stem}-{number + 1}"
        try:
            sample_id = an_id(key if self._options.id == "key" else f"{self._stem}/{key}")
            shown = self._media(members)
            self._check(members, shown)
            beside = Beside(self._text_files(members, data))
            if self._id and (stated := beside.value(self._id)) is not None:
                sample_id = an_id(stated)
            media = [self._ref(member) for member in shown]
            turns, refs = turns_of(beside.told(self._places), media, self._telling)
            return Sample(sample_id, turns, refs)
        except Fault as fault:
            message = f"{self._path}: {key!r}: {fault.message}"
            return Sample(sample_id, drop=fault.reason, message=message)

    def _text_files(
        self, members: Sequence[Member], data: Mapping[int, bytes]
    ) -> dict[str, TextFile]:
        return {
            member.extension.lower(): TextFile(
                f"{member.key}.{member.extension}", member.size, data.get(member.offset)
            )
            for member in members
            if self.is_text(member)
        }

    def _media(self, members: Sequence[Member]) -> list[Member]:
        """Those that the sample shows, in order."""
        if chosen := self._options.media:
            places = {extension.lower(): place for place, extension in enumerate(chosen)}
            shown = [member for member in members if member.extension.lower() in places]
            return sorted(shown, key=lambda member: places[member.extension.lower()])
        numbered: dict[tuple[str, int], Member] = {}
        for member in members:
            place = _place(member.extension)
            if place is None:
                continue
            if (other := numbered.setdefault(place, member)) is not member and not member.reason:
                what = f"is it {other.extension} or {member.extension}? media = […] names them"
                raise bad("media", what)
        return [member for _, member in sorted(numbered.items(), key=lambda item: item[0])]

    def _check(self, members: Sequence[Member], shown: Sequence[Member]) -> None:
        """Raises Fault where a member that is needed is lost, or the sample as a whole."""
        for member in members:
            needed = member in shown or member.extension.lower() in self._texts
            if member.reason and (needed or member.reason != Reason.MISSING_MEDIA):
                raise Fault(Reason(member.reason), member.message or "")

    def _ref(self, member: Member) -> MediaRef:
        kind = media_kind(member.extension)
        assert kind is not None  # none else is chosen
        name = f"{member.key}.{member.extension}"
        span = member.offset, member.size
        return MediaRef(kind, self._path, name, member.extension, span=span)


@lru_cache(1024)
def _place(extension: str) -> tuple[str, int] | None:
    """Word and number of a plain or numbered extension of media.

    >>> _place("jpg"), _place("img07.PNG"), _place("0.txt"), _place("mask.png")
    (('', -1), ('img', 7), None, None)
    """
    found = _NUMBERED.fullmatch(extension.lower())
    if not (found and media_kind(extension)):
        return None
    return found[1] or "", int(found[2] or -1)
