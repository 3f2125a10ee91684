"""The pictures that a model is shown: of the file that was surveyed, upright, at their size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from threading import Lock

from PIL import Image

from workers.known_media import check_unchanged, read_known
from workers.media_files import MediaFiles
from workers.pixels import decode
from workers.shown import Item, Shown
from workers.video import frames

_CHUNK = 1 << 20
_BLANK = (255, 255, 255)


class ShownPictures:
    """Draws pictures in several threads over the same files."""

    def __init__(self, files: MediaFiles) -> None:
        self._files = files
        self._lock = Lock()

    def of(self, shown: Sequence[Shown], items: Sequence[Item]) -> list[Image.Image]:
        """In order. Raises Fault where one does not decode, BuildError for changed bytes."""
        drawn: list[Image.Image] = []
        for number in dict.fromkeys(one.item for one in shown):
            mine = [one for one in shown if one.item == number]
            pictures = self._of_item(items[number], [one.frame for one in mine])
            drawn += [
                picture.resize((one.width, one.height), Image.Resampling.BICUBIC)
                for one, picture in zip(mine, pictures, strict=True)
            ]
        return drawn

    def _of_item(self, item: Item, wanted: Sequence[int]) -> Iterator[Image.Image]:
        path, offset, size = item["path"], item["offset"], item["size"]
        if item["kind"] != "video":
            with self._lock:
                data = read_known(self._files, path, offset, size)
            check_unchanged(path, [data], item["sha256"])
            yield decode(data, item["orientation"], "white")
            return
        with self._lock:
            check_unchanged(path, self._chunks(path, offset, size), item["sha256"])
            file = self._files.open_range(path, offset, size)
        with closing(file):
            yield from frames(file, wanted, item["orientation"])

    def _chunks(self, path: str, offset: int, size: int) -> Iterator[bytes]:
        for start in range(offset, offset + size, _CHUNK):
            yield read_known(self._files, path, start, min(_CHUNK, offset + size - start))


def blanks(shown: Sequence[Shown]) -> list[Image.Image]:
    """White pictures of the same sizes."""
    return [Image.new("RGB", (one.width, one.height), _BLANK) for one in shown]
