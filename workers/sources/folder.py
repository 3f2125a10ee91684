"""Pictures and videos in a tree of folders, each beside a text file of the same name.

    cats/01.jpg  cats/01.txt      a picture and its caption
    cats/02.mp4  cats/02.json     a video and a conversation

1. `index`: one listing: every picture and video, and the files beside it of the same stem.
2. `plan`: the listing in blocks that end where a file's name says so, not after so many files: a
   file more or less changes its own block alone. Blocks of 256 hold 256 on average, 1,024 at most.
3. `read`: the text files of a block. Hidden files, and all that is no medium, are passed over.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, model_validator

from schemas.errors import BuildError
from workers.faults import Fault
from workers.sources.beside import Beside, Places, TextFile, extensions
from workers.sources.block import Block
from workers.sources.conversations import ConversationOptions, Role
from workers.sources.extensions import media_kind
from workers.sources.fields import a_path, an_id
from workers.sources.sample import MediaRef, Sample
from workers.sources.told import MAX_TEXT_BYTES, Telling, turns_of
from workers.storage.entries import Stat

if TYPE_CHECKING:
    from workers.storage.folder import Folder

_TEXT = pa.struct(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
    ]
)
FILES = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("beside", pa.list_(_TEXT), nullable=False),
    ]
)


class FolderOptions(BaseModel):
    """Keys of a source that is a folder of media."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["folder"] = "folder"
    caption: str = ""
    """Where the caption is: an extension, or `json:` and a field."""
    conversations: str = ""
    """Where the conversation is: `json` (all of it), or `json:` and a field."""
    question: str = ""
    """Where the user's text before a caption is, in place of `prompt`."""
    prompt: str = ""
    """The user's text before each caption, behind the picture."""
    without_text: Literal["drop", "keep"] = "drop"
    """Media without any text: `keep` leaves a turn of the user with nothing to learn after it."""
    roles: dict[str, Role] = {}
    """More names of roles in conversations."""
    leading_answer: Literal["drop", "skip"] = "drop"
    """A conversation that the assistant begins: `skip` leaves out what it says before the user."""

    @model_validator(mode="after")
    def _one_kind_of_text(self) -> FolderOptions:
        if self.caption and self.conversations:
            raise ValueError("caption and conversations exclude each other")
        return self


def index(folder: Folder, path: str = "") -> pa.Table:
    """FILES below a folder, sorted by path: media, each with the other files of its stem."""
    listed = [file for file in folder.list(path) if not _is_hidden(file[0])]
    beside: dict[str, list[dict[str, Any]]] = {}
    media: list[dict[str, Any]] = []
    for name, stat in listed:
        file: dict[str, Any] = {"path": name, "size": stat.size, "version": stat.version}
        if media_kind(name):
            media.append(file)
        else:
            beside.setdefault(_stem(name), []).append(file)
    rows = [{**file, "beside": beside.get(_stem(file["path"]), [])} for file in media]
    return pa.Table.from_pylist(rows, FILES)


def plan(table: pa.Table, path: str, files_per_block: int) -> list[Block]:
    """The listing in blocks, each with the digest of its files' names and sizes."""
    blocks: list[Block] = []
    names = table.column("path").to_pylist()
    start = 0
    for end, name in enumerate(names, start=1):
        ends_here = zlib.crc32(name.encode()) % files_per_block == 0
        if ends_here or end - start == 4 * files_per_block or end == len(names):
            digest = _digest(table.slice(start, end - start))
            blocks.append(Block(path, start, end, start, end - start, digest))
            start = end
    return blocks


def read(
    folder: Folder, block: Block, options: FolderOptions, table: pa.Table
) -> Iterator[tuple[Sample, str]]:
    """The samples of a block of the listing, each with its origin. Raises BuildError where a text
    file is not what was listed.
    """
    places = Places(options.caption, options.conversations, options.question)
    wanted = extensions(places)
    talk = ConversationOptions(roles=options.roles, leading_answer=options.leading_answer)
    telling = Telling(options.prompt, options.without_text, talk)
    for row in table.slice(block.start, block.end - block.start).to_pylist():
        path = row["path"]
        texts = [text for text in row["beside"] if _extension(text["path"]) in wanted]
        beside = Beside({_extension(text["path"]): _text_file(folder, text) for text in texts})
        sample_id = path
        try:
            sample_id = an_id(path)
            kind = media_kind(path)
            assert kind is not None  # else it would not be listed
            ref = MediaRef(kind, a_path(path, "path"), "", "media")
            turns, refs = turns_of(beside.told(places), [ref], telling)
            yield Sample(sample_id, turns, refs), path
        except Fault as fault:
            message = f"{path}: {fault.message}"
            yield Sample(sample_id, drop=fault.reason, message=message), path


def _text_file(folder: Folder, text: dict[str, Any]) -> TextFile:
    path, seen = text["path"], Stat(text["size"], text["version"])
    if seen.size > MAX_TEXT_BYTES:
        return TextFile(path, seen.size, None)
    try:
        [data] = folder.read_ranges(path, [(0, seen.size)], seen)
    except FileNotFoundError:
        what = f"{folder.url}/{path} changed while the build read it; build again"
        raise BuildError(what) from None
    return TextFile(path, seen.size, data)


def _digest(rows: pa.Table) -> str:
    digest = hashlib.sha256()
    for row in rows.to_pylist():
        files: Sequence[dict[str, Any]] = [row, *row["beside"]]
        digest.update("".join(f"{file['path']}\0{file['size']}\0" for file in files).encode())
    return digest.hexdigest()


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _stem(path: str) -> str:
    """The path without the last extension: `a.b/c.0.jpg` → `a.b/c.0`."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"


def _extension(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[2].lower()
