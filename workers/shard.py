"""One shard: a column of a stripe set, its packs written front to back, fillers where a row is not
full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from mmap import PROT_READ, mmap
from pathlib import Path
from typing import NamedTuple

from patchpack.layout import Header, encode, filler
from schemas.errors import BuildError
from workers.assemble import PackStyle, Part, Place, assemble
from workers.gather import Sample
from workers.known_media import check_unchanged, read_known
from workers.media_files import MediaFiles
from workers.sidefiles import index_of, write_shard_files
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
    path: Path, packs: Iterable[PlannedPack], folders: Mapping[str, Path], style: PackStyle
) -> tuple[ShardSummary, int]:
    """Write a shard and its side files, whole or not at all; its summary, and the packs with
    samples in it.

    Raises BuildError for a source file that is no longer what the survey saw.
    """
    headers: list[Header] = []
    with ExitStack() as stack:
        writer = stack.enter_context(shard_writer(path))
        files = {name: stack.enter_context(MediaFiles(root)) for name, root in folders.items()}
        containers = _Containers(folders[""])
        for planned in packs:
            if planned.samples:
                parts = [
                    [_read(piece, containers, files) for piece in pieces]
                    for pieces in planned.pieces
                ]
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


class _Containers:
    """Views of files that the build made and nobody changes; nothing is copied."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, memoryview] = {}

    def view(self, piece: Piece) -> memoryview:
        """The bytes of one piece."""
        if piece.path not in self._open:
            with (self._root / piece.path).open("rb") as file:
                self._open[piece.path] = memoryview(mmap(file.fileno(), 0, prot=PROT_READ))
        data = self._open[piece.path][piece.offset : piece.offset + piece.size]
        if len(data) != piece.size:
            raise BuildError(f"{piece.path} of the cache is cut short; delete it and build again")
        return data


def _read(piece: Piece, containers: _Containers, files: Mapping[str, MediaFiles]) -> Part:
    if not piece.folder:
        return Part(containers.view(piece), piece.format)
    data = read_known(files[piece.folder], piece.path, piece.offset, piece.size)
    check_unchanged(piece.path, [data], piece.sha256)
    return Part(data, piece.format)
