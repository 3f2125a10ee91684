"""One set of samples in every format that a source may have.

A talk says what all formats can say. Each writer puts the talks that its format can express into a
folder and gives the `[[sources]]` lines that read them, under the same ids in every format.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from workers.sources.extensions import media_kind

Record = dict[str, Any]
Files = list[tuple[str, bytes]]

MARKER = re.compile("<image>|<video>")
SPEAKERS = {"user": "human", "assistant": "gpt", "system": "system", "text": "text"}
_DOCUMENTS = 'roles = { text = "text" }'
_QUESTION = re.compile(r"(?:<image>|<video>)+\n(\S.*)", re.DOTALL)


@dataclass(frozen=True)
class Medium:
    """A file below the folder of the media."""

    kind: Literal["image", "video"]
    path: str

    @property
    def extension(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def is_named_so(self) -> bool:
        """Whether the name tells the kind: a GIF that is meant as a video does not."""
        return media_kind(self.path) == self.kind


@dataclass(frozen=True)
class Talk:
    """Who says what, with a marker where each medium stands, in order."""

    id: str
    said: tuple[tuple[str, str], ...]
    media: tuple[Medium, ...] = ()

    @property
    def turns(self) -> list[Record]:
        """As LLaVA's format has it."""
        return [{"from": SPEAKERS[role], "value": text} for role, text in self.said]

    def paths(self, kind: str) -> list[str]:
        return [medium.path for medium in self.media if medium.kind == kind]

    def caption(self) -> tuple[str, str] | None:
        """Question and answer, where that is all: a text file and a prompt can say it."""
        if [role for role, _ in self.said] != ["user", "assistant"]:
            return None
        (_, asked), (_, answer) = self.said
        found = _QUESTION.fullmatch(asked)
        if not found or MARKER.search(found[1]) or not answer or answer != answer.strip():
            return None
        return found[1], answer


@dataclass(frozen=True)
class Export:
    """What a writer has written."""

    ids: frozenset[str]
    source: str
    """Lines of the recipe, but for the name."""


Writer = Callable[[Sequence[Talk], Path, Path], Export]
"""Takes the talks, the folder of their media, and an empty folder to write to."""


def talk_of(record: Record) -> Talk | None:
    """The talk in a record; None where it shows posed views, or members of tars."""
    said: list[tuple[str, str]] = []
    media: list[Medium] = []
    for turn in record["turns"]:
        refs = {"image": turn.get("images", [])[::-1], "video": turn.get("videos", [])[::-1]}
        text = turn.get("text", "")
        for part in turn.get("parts", []):
            if part["type"] not in ("text", "image", "video") or "tar" in part:
                return None
            text += part["text"] if part["type"] == "text" else f"<{part['type']}>"
            refs.get(part["type"], []).insert(0, part.get("path"))
        for marker in MARKER.findall(text):
            kind: Literal["image", "video"] = "image" if marker == "<image>" else "video"
            media.append(Medium(kind, refs[kind].pop()))
        said.append((turn["role"], text))
    return Talk(record["id"], tuple(said), tuple(media))


def record_of(talk: Talk) -> Record:
    """The record of a talk, with media as parts."""
    media = iter(talk.media)
    turns = []
    for role, text in talk.said:
        parts: list[Record] = []
        for piece in re.split("(<image>|<video>)", text):
            if MARKER.fullmatch(piece):
                medium = next(media)
                parts.append({"type": medium.kind, "path": medium.path})
            elif piece:
                parts.append({"type": "text", "text": piece})
        turns.append({"role": role, "parts": parts})
    return {"id": talk.id, "turns": turns}


def write_llava_array(talks: Sequence[Talk], media: Path, folder: Path) -> Export:
    (folder / "chat.json").write_text(json.dumps([_llava(talk) for talk in talks], indent=1))
    source = f'kind = "llava_json"\npath = "{folder}/chat.json"\nroot = "{media}"'
    return Export(_ids(talks), source)


def write_llava_lines(talks: Sequence[Talk], media: Path, folder: Path) -> Export:
    (folder / "chat.jsonl").write_text(_lines(_llava(talk) for talk in talks))
    source = f'kind = "llava_json"\npath = "{folder}/chat.jsonl"\nroot = "{media}"'
    return Export(_ids(talks), source)


def write_internvl(talks: Sequence[Talk], media: Path, folder: Path) -> Export:
    """Two data sets: media below `media/`, and documents and the rest in files of their own."""
    (folder / "media").symlink_to(media)
    meta = {}
    for number, name in enumerate(("even", "odd")):
        (folder / f"{name}.jsonl").write_text(_lines(map(_llava, talks[number::2])))
        meta[name] = {"root": "media/", "annotation": f"{name}.jsonl", "repeat_time": 1}
    (folder / "meta.json").write_text(json.dumps(meta))
    return Export(_ids(talks), f'kind = "internvl_jsonl"\npath = "{folder}/meta.json"')


def write_tars(talks: Sequence[Talk], media: Path, folder: Path) -> Export:
    """Two tars, samples in a row; a question and its answer as a caption."""
    chosen = [talk for talk in talks if all(medium.is_named_so for medium in talk.media)]
    for number in range(2):
        files: Files = []
        for place, talk in enumerate(chosen[number::2]):
            files += [(f"{place:05d}.{name}", data) for name, data in _beside(talk)]
            files += [(f"{place:05d}.{name}", data) for name, data in _members(talk, media)]
        (folder / f"{number:05d}.tar").write_bytes(_tar(files))
    return _tar_source(chosen, f"{folder}/*.tar")


def write_compressed_tar(talks: Sequence[Talk], media: Path, folder: Path) -> Export:
    """One .tar.gz, all texts behind all media."""
    chosen = [talk for talk in talks if all(medium.is_named_so for medium in talk.media)]
    pictures: Files = []
    texts: Files = []
    for place, talk in enumerate(chosen):
        pictures += [(f"some/{place}.{name}", data) for name, data in _members(talk, media)]
        texts += [(f"some/{place}.{name}", data) for name, data in _beside(talk)]
    packed = gzip.compress(_tar(pictures + texts), 1, mtime=0)
    (folder / "all.tar.gz").write_bytes(packed)
    return _tar_source(chosen, str(folder))


def _tar_source(talks: Sequence[Talk], path: str) -> Export:
    lines = ['kind = "webdataset"', f'path = "{path}"', 'id = "json:id"', _DOCUMENTS]
    return Export(_ids(talks), "\n".join([*lines, 'question = "json:question"']))


def write_parquet(talks: Sequence[Talk], media: Path, folder: Path) -> Export:
    """As the library `datasets` writes it, media as they are, in small row groups."""
    chunk: dict[str, list[Any]] = {"id": [], "images": [], "videos": [], "conversations": []}
    for talk in talks:
        for name, value in _row(talk, media).items():
            chunk[name].append(value)
    turn = {"from": datasets.Value("string"), "value": datasets.Value("string")}
    blob = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "images": datasets.List(datasets.Image(decode=False)),
            "videos": datasets.List(blob),
            "conversations": datasets.List(turn),
        }
    )
    table = datasets.Dataset.from_dict(chunk, features)
    table.to_parquet(folder / "train.parquet", batch_size=100)
    return _parquet_source(talks, f"{folder}/train.parquet")


def write_compressed_parquet(talks: Sequence[Talk], media: Path, folder: Path) -> Export:
    """As pyarrow writes it, compressed and with dictionaries, in two files."""
    for number in range(2):
        table = pa.Table.from_pylist([_row(talk, media) for talk in talks[number::2]])
        pq.write_table(table, folder / f"{number}.parquet", compression="zstd", row_group_size=64)
    return _parquet_source(talks, str(folder))


def write_captioned_parquet(talks: Sequence[Talk], media: Path, folder: Path) -> Export:
    """Questions and captions in columns of their own, media as plain binary."""
    rows: list[Record] = []
    for talk in talks:
        if (caption := talk.caption()) and len(talk.media) == 1:
            [medium] = talk.media
            data = (media / medium.path).read_bytes()
            shown = {"picture": data if medium.kind == "image" else None}
            shown["film"] = data if medium.kind == "video" else None
            rows.append({"key": talk.id, **shown, "asked": caption[0], "alt": caption[1]})
    pq.write_table(pa.Table.from_pylist(rows), folder / "all.parquet", row_group_size=32)
    columns = 'images = ["picture"]\nvideos = ["film"]\nquestion = "asked"\ncaption = "alt"'
    source = f'kind = "parquet"\npath = "{folder}/*.parquet"\n{columns}\nid = "key"'
    return Export(frozenset(row["key"] for row in rows), source)


def _parquet_source(talks: Sequence[Talk], path: str) -> Export:
    columns = 'images = ["images"]\nvideos = ["videos"]'
    return Export(_ids(talks), f'kind = "parquet"\npath = "{path}"\n{columns}\n{_DOCUMENTS}')


def write_folder(talks: Sequence[Talk], media: Path, folder: Path) -> Export:
    """Samples with one medium, whose id is the name of its file."""
    chosen = [
        talk
        for talk in talks
        if len(talk.media) == 1
        and talk.media[0].is_named_so
        and talk.id.endswith(f".{talk.media[0].extension}")
    ]
    for talk in chosen:
        (folder / talk.id).symlink_to(media / talk.media[0].path)
        for extension, data in _beside(talk):
            path = folder / f"{PurePosixPath(talk.id).stem}.{extension}"
            path.write_bytes(data)
    source = ['kind = "folder"', f'path = "{folder}"', 'question = "json:question"', _DOCUMENTS]
    return Export(_ids(chosen), "\n".join(source))


WRITERS: dict[str, Writer] = {
    "llava_array": write_llava_array,
    "llava_lines": write_llava_lines,
    "internvl": write_internvl,
    "tars": write_tars,
    "compressed_tar": write_compressed_tar,
    "parquet": write_parquet,
    "compressed_parquet": write_compressed_parquet,
    "captioned_parquet": write_captioned_parquet,
    "folder": write_folder,
}


def _ids(talks: Iterable[Talk]) -> frozenset[str]:
    return frozenset(talk.id for talk in talks)


def _lines(records: Iterable[Record]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _llava(talk: Talk) -> Record:
    """One medium stands alone, several in a list; a document is a text."""
    record: Record = {"id": talk.id}
    for kind in ("image", "video"):
        if paths := talk.paths(kind):
            record[kind] = paths[0] if len(paths) == 1 else paths
    if [role for role, _ in talk.said] == ["text"]:
        return record | {"text": talk.said[0][1]}
    return record | {"conversations": talk.turns}


def _beside(talk: Talk) -> Iterator[tuple[str, bytes]]:
    """Text files of a sample by extension: a caption where that says all."""
    if caption := talk.caption():
        yield "txt", f"{caption[1]}\n".encode()
        yield "json", json.dumps({"id": talk.id, "question": caption[0]}).encode()
    else:
        yield "json", json.dumps({"id": talk.id, "conversations": talk.turns}).encode()


def _members(talk: Talk, media: Path) -> Iterator[tuple[str, bytes]]:
    """Media of a sample by extension, numbered where there are several."""
    for number, medium in enumerate(talk.media):
        numbered = f"{number}." if len(talk.media) > 1 else ""
        yield f"{numbered}{medium.extension}", (media / medium.path).read_bytes()


def _tar(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _row(talk: Talk, media: Path) -> Record:
    shown = {
        kind: [{"bytes": (media / path).read_bytes(), "path": None} for path in talk.paths(kind)]
        for kind in ("image", "video")
    }
    columns = {"images": shown["image"], "videos": shown["video"]}
    return {"id": talk.id, **columns, "conversations": talk.turns}
