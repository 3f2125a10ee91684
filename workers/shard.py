"""One shard: a column of a stripe set, its packs written front to back, fillers where a row is not
full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from mmap import PROT_READ, mmap
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from patchpack.layout import Header, encode, filler
from schemas.errors import BuildError
from workers.assemble import PackStyle, Part, Place, assemble
from workers.fetched import Fetched, File, Span
from workers.gather import Sample
from workers.known_media import check_unchanged, read_known
from workers.media_files import MediaFiles
from workers.sidefiles import index_of, write_shard_files
from workers.storage.folder import Folder
from workers.storage.local import LocalFolder
from workers.tarwriter import ShardSummary, shard_writer


class Piece(NamedTuple):
    """The bytes of one picture, or of an item's `xyz`: where they lie, and what they must be."""

    folder: str  # key of `folders`: a source, or "" for the cache
    path: str
    offset: int
    size: int
    format: str
    sha256: str  # of bytes that are a source's own; "" for what the build rendered


@dataclass(frozen=True)
class PlannedPack:
    """A pack to write; a filler has no samples. `pieces` has one list an item, items in sample
    order.
    """

    place: Place
    samples: Sequence[Sample]
    pieces: Sequence[Sequence[Piece]]


def write_shard(
    path: Path,
    packs: Iterable[PlannedPack],
    read: Callable[[Piece], Part],
    style: PackStyle,
) -> tuple[ShardSummary, int]:
    """Write a shard and its side files, whole or not at all; its summary, and the packs with
    samples in it.

    Raises BuildError for a source file that is no longer what the survey saw.
    """
    headers: list[Header] = []
    with shard_writer(path) as writer:
        for planned in packs:
            if planned.samples:
                parts = [[read(piece) for piece in pieces] for pieces in planned.pieces]
                pack = assemble(planned.place, planned.samples, parts, style)
            else:
                place = planned.place
                pack = filler(
                    key=place.key,
                    lane=place.lane,
                    row=place.row,
                    positions=style.positions,
                    recipe=style.recipe,
                )
            writer.add_pack(pack.header.key, *encode(pack))
            headers.append(pack.header)
        summary = writer.finish()
        write_shard_files(path, index_of(summary.packs, headers))
    return summary, sum(not header.filler for header in headers)


class Reader:
    """The bytes of pieces; of a local cache as views of files that nobody changes, nothing is
    copied. What lies in remote folders is `fetched`.
    """

    def __init__(self, folders: Mapping[str, Folder], fetched: Fetched | None) -> None:
        self._folders, self._fetched = folders, fetched
        self._containers: dict[str, memoryview] = {}
        self._media = {
            name: MediaFiles(folder)
            for name, folder in folders.items()
            if isinstance(folder, LocalFolder)
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for files in self._media.values():
            files.close()

    def __call__(self, piece: Piece) -> Part:
        """The bytes of one piece. Raises BuildError where they are not those of the survey."""
        folder = self._folders[piece.folder]
        if not isinstance(folder, LocalFolder):
            assert self._fetched is not None
            data = self._fetched(File(piece.folder, piece.path), Span(piece.offset, piece.size))
        elif piece.folder:
            files = self._media[piece.folder]
            data = read_known(files, piece.path, piece.offset, piece.size)
        else:
            data = self._view(folder, piece)
        if piece.sha256:
            check_unchanged(piece.path, [data], piece.sha256)
        return Part(data, piece.format)

    def _view(self, cache: LocalFolder, piece: Piece) -> memoryview:
        if piece.path not in self._containers:
            with cache.open(piece.path) as file:
                self._containers[piece.path] = memoryview(mmap(file.fileno(), 0, prot=PROT_READ))
        data = self._containers[piece.path][piece.offset : piece.offset + piece.size]
        if len(data) != piece.size:
            raise BuildError(f"{piece.path} of the cache is cut short; delete it and build again")
        return data
