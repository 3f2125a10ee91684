"""Texts with numbers that wait for the sizes of pictures: written and encoded for each step of fit.

1. tokenize leaves a script with NUMBERS where Qwen2.5-VL counts pixels of the resized picture.
2. size, which knows these, puts the numbers in and encodes the whole text, as tokenize would have:
   what is merged with what does not depend on where numbers stand.
Trade-off: a text of 300 characters takes 0.05 (bytes) to 0.3 ms, once more for each smaller step
that its sample takes; the driver does it. Ways that count thousandths wait for nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Ints, flat, lists, offsets, one_chunk
from schemas.sized import Floats
from schemas.tables import TEXT
from workers.coordinates import whole_pixels
from workers.kept import Kept
from workers.marked_text import Row, row_of
from workers.regions import NUMBERS, listed
from workers.tokenizer_protocol import Document, Encoded

Encode = Callable[[Sequence[Document]], list[Encoded]]

_BATCH = 4096  # texts that are Python objects at a time


@dataclass
class LateTexts:
    """The n late texts of a partition's kept samples, with r regions of p points."""

    samples: Ints  # [n] whose they are, rising
    scripts: pa.StructArray  # [n] LATE
    first_region: Ints  # [n + 1]
    first_number: Ints  # [r + 1] numbers of region i are first_number[i] .. first_number[i + 1]
    points: Floats  # [p, 2] pixels of the source picture
    items: Ints  # [p] medium of each point
    source_wh: Ints  # [p, 2]
    texts: list[pa.StructArray] = field(default_factory=list)  # TEXT, all that was written
    text_row: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # [n] row in `texts`

    def write(self, samples: Ints, resized_wh: Ints, encode: Encode) -> Iterator[tuple[int, Row]]:
        """Those of these samples, each with its sample, for media [m, 2] resized to this."""
        sizes = resized_wh[self.items]
        pixels = whole_pixels(self.points * (sizes / self.source_wh), sizes).ravel()
        chosen = np.flatnonzero(np.isin(self.samples, samples))
        for start in range(0, len(chosen), _BATCH):
            batch = chosen[start : start + _BATCH]
            scripts = self.scripts.take(pa.array(batch)).to_pylist()
            documents = [
                filled(script["text"], script["learned"], self._numbers(number, pixels))
                for number, script in zip(batch.tolist(), scripts, strict=True)
            ]
            encoded = zip(scripts, encode(documents), strict=True)
            rows = [row_of(script["marks"], one) for script, one in encoded]
            self.text_row[batch] = sum(map(len, self.texts)) + np.arange(len(batch))
            self.texts.append(_texts(rows))
            yield from zip(self.samples[batch].tolist(), rows, strict=True)

    def _numbers(self, text: int, pixels: Ints) -> list[str]:
        """What stands for each of NUMBERS in a text."""
        bounds = self.first_number[self.first_region[text] : self.first_region[text + 1] + 1]
        mine = pixels[bounds[0] : bounds[-1]].tolist()
        ends = (bounds - bounds[0]).tolist()
        return [listed(mine[a:b]) for a, b in pairwise(ends)]

    def column(self, place: Ints, alive: npt.NDArray[np.bool_], rows: int) -> pa.ListArray:
        """The column `text` of SIZED with so many rows; sample i stands in row `place[i]`, and its
        text as it was written last, if it is alive.
        """
        live = alive[self.samples]
        counts = np.zeros(rows, np.int64)
        counts[place[self.samples[live]]] = 1
        texts = pa.concat_arrays([_texts([]), *self.texts])
        if not np.array_equal(self.text_row[live], np.arange(len(texts))):  # else a copy less
            texts = texts.take(pa.array(self.text_row[live]))
        return lists(texts, counts)


def late_texts(kept: Kept, tokenized: Sequence[pa.Table]) -> LateTexts:
    """The late texts of the kept samples; `tokenized` are the partition's blocks in order."""
    column = one_chunk(pa.concat_tables([table.select(["late"]) for table in tokenized])["late"])
    samples = np.flatnonzero(pc.list_value_length(column).to_numpy()[kept.place])
    scripts = flat(column.take(pa.array(kept.place[samples])))
    items, xy = (pc.struct_field(scripts, name) for name in ("items", "xy"))
    numbers = flat(xy)
    first_region, first_number = offsets(items), offsets(numbers)
    owner = np.repeat(samples, np.diff(first_region))
    medium = kept.first_item[owner] + flat(items).to_numpy()
    item = np.repeat(medium, np.diff(first_number) // 2)
    return LateTexts(
        samples=samples,
        scripts=scripts,
        first_region=first_region,
        first_number=first_number,
        points=flat(numbers).to_numpy().reshape(-1, 2),
        items=item,
        source_wh=np.stack([kept.media.width[item], kept.media.height[item]], axis=1),
        text_row=np.zeros(len(samples), np.int64),
    )


def _texts(rows: Sequence[Row]) -> pa.StructArray:
    """Rows of TEXT."""
    columns = []
    for one in TEXT:
        parts = [getattr(row, one.name) for row in rows]
        lengths = np.array([len(part) for part in parts], np.int64)
        columns.append(lists(np.concatenate([np.zeros(0, np.int32), *parts]), lengths))
    return pa.StructArray.from_arrays(columns, fields=list(TEXT))


def filled(text: str, learned: Sequence[int], numbers: Sequence[str]) -> Document:
    """The text with these in place of its NUMBERS, and the learned spans where they are then."""
    pieces = text.split(NUMBERS)
    ends = list(accumulate(len(piece) + 1 for piece in pieces[:-1]))  # one past each of NUMBERS
    grown = [0, *accumulate(len(one) - 1 for one in numbers)]
    places = [place + grown[bisect_right(ends, place)] for place in learned]
    written = [pieces[0]]
    for one, piece in zip(numbers, pieces[1:], strict=True):
        written += [one, piece]
    return Document("".join(written), list(zip(places[::2], places[1::2], strict=True)))
