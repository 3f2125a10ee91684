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
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, model_validator

from schemas.columns import flat, one_chunk
from schemas.errors import BuildError
from workers.faults import Fault
from workers.sources.beside import Beside, Places, TextFile, extensions
from workers.sources.block import Block
from workers.sources.conversations import ConversationOptions, Role
from workers.sources.extensions import media_kind
from workers.sources.fields import a_path, an_id
from workers.sources.sample import MediaRef, Sample
from workers.sources.told import MAX_TEXT_BYTES, Telling, turns_of
from workers.storage.entries import Listing, Stat

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
_Text = tuple[str, int, str]
"""Path, size and version of a file beside a medium."""


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
    beside: dict[str, Listing] = {}
    media: Listing = []
    for file in listed:
        if media_kind(file[0]):
            media.append(file)
        else:
            beside.setdefault(_stem(file[0]), []).append(file)
    groups = [beside.get(_stem(name), []) for name, _ in media]
    ends = pa.array(accumulate(map(len, groups), initial=0), pa.int32())
    texts = pa.StructArray.from_arrays(_columns(chain.from_iterable(groups)), fields=list(_TEXT))
    lists = pa.ListArray.from_arrays(ends, texts, type=FILES.field("beside").type)
    return pa.Table.from_arrays([*_columns(media), lists], schema=FILES)


def plan(table: pa.Table, path: str, files_per_block: int) -> list[Block]:
    """The listing in blocks, each with the digest of its files' names and sizes."""
    blocks: list[Block] = []
    start, digest = 0, hashlib.sha256()
    for end, (name, size, texts) in enumerate(_rows(table), start=1):
        files = [(name, size), *(text[:2] for text in texts)]
        digest.update("".join(f"{file}\0{size}\0" for file, size in files).encode())
        ends_here = zlib.crc32(name.encode()) % files_per_block == 0
        if ends_here or end - start == 4 * files_per_block or end == len(table):
            blocks.append(Block(path, start, end, start, end - start, digest.hexdigest()))
            start, digest = end, hashlib.sha256()
    return blocks


def texts_of(table: pa.Table) -> list[_Text]:
    """Path, size and version of the files beside all media, in order."""
    files = flat(one_chunk(table.column("beside")))
    columns = (pc.struct_field(files, name).to_pylist() for name in ("path", "size", "version"))
    return list(zip(*columns, strict=True))


def digest_of(table: pa.Table) -> str:
    """Of all that the listing says, versions too: names a table, and no output."""
    digest = hashlib.sha256()
    for batch in table.combine_chunks().to_batches():
        digest.update(batch.serialize())
    return digest.hexdigest()


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
    for path, _, files in _rows(table.slice(block.start, block.end - block.start)):
        texts = {_extension(file[0]): file for file in files}
        beside = Beside({e: _text_file(folder, texts[e]) for e in texts if e in wanted})
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


def _text_file(folder: Folder, text: _Text) -> TextFile:
    path, seen = text[0], Stat(text[1], text[2])
    if seen.size > MAX_TEXT_BYTES:
        return TextFile(path, seen.size, None)
    try:
        [data] = folder.read_ranges(path, [(0, seen.size)], seen)
    except FileNotFoundError:
        what = f"{folder.url}/{path} changed while the build read it; build again"
        raise BuildError(what) from None
    return TextFile(path, seen.size, data)


def _columns(files: Iterable[tuple[str, Stat]]) -> list[pa.Array]:
    """Paths, sizes and versions."""
    listed = list(files)
    return [
        pa.array([name for name, _ in listed], pa.string()),
        pa.array([stat.size for _, stat in listed], pa.int64()),
        pa.array([stat.version for _, stat in listed], pa.string()),
    ]


def _rows(table: pa.Table) -> Iterator[tuple[str, int, list[_Text]]]:
    """Path and size of each medium, and the files beside it."""
    texts = texts_of(table)
    counts = pc.list_value_length(table.column("beside")).to_pylist()
    columns = [table.column(name).to_pylist() for name in ("path", "size")]
    for path, size, count, end in zip(*columns, counts, accumulate(counts), strict=True):
        yield path, size, texts[end - count : end]


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _stem(path: str) -> str:
    """The path without the last extension: `a.b/c.0.jpg` → `a.b/c.0`."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"


def _extension(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[2].lower()
