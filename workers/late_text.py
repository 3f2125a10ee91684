"""Texts with numbers that wait for the sizes of pictures: written and encoded for each step of fit.

1. tokenize leaves a script with NUMBERS where Qwen2.5-VL counts pixels of the resized picture.
2. size, which knows these, puts the numbers in and encodes the whole text, as tokenize would have:
   what is merged with what does not depend on where numbers stand.
A text is encoded once more for each smaller step that its sample takes; no other text is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
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

_BATCH = 4096  # texts at a time: bounds what is held beside the result


@dataclass(frozen=True)
class LateTexts:
    """The n late texts of a partition's kept samples, with r regions of p points."""

    samples: Ints  # [n] whose they are, rising
    texts: Sequence[str]  # [n]
    learned: Sequence[Sequence[int]]  # [n]
    marks: Sequence[Sequence[int]]  # [n]
    first_region: Ints  # [n + 1]
    first_number: Ints  # [r + 1] numbers of region i are first_number[i] .. first_number[i + 1]
    points: Floats  # [p, 2] pixels of the source picture
    items: Ints  # [p] medium of each point
    source_wh: Ints  # [p, 2]

    def written(self, samples: Ints, resized_wh: Ints, encode: Encode) -> Iterator[tuple[int, Row]]:
        """Those of these samples, each with its sample, for media [m, 2] resized to this."""
        sizes = resized_wh[self.items]
        pixels = whole_pixels(self.points * (sizes / self.source_wh), sizes).ravel().tolist()
        bounds = self.first_number.tolist()
        chosen = np.flatnonzero(np.isin(self.samples, samples)).tolist()

        def document(number: int) -> Document:
            regions = range(*self.first_region[number : number + 2])
            numbers = [listed(pixels[bounds[one] : bounds[one + 1]]) for one in regions]
            return filled(self.texts[number], self.learned[number], numbers)

        for start in range(0, len(chosen), _BATCH):
            batch = chosen[start : start + _BATCH]
            encoded = encode([document(number) for number in batch])
            for number, one in zip(batch, encoded, strict=True):
                yield int(self.samples[number]), row_of(self.marks[number], one)


def late_texts(kept: Kept, tokenized: Sequence[pa.Table]) -> LateTexts:
    """The late texts of the kept samples; `tokenized` are the partition's blocks in order."""
    column = one_chunk(pa.concat_tables([table.select(["late"]) for table in tokenized])["late"])
    samples = np.flatnonzero(pc.list_value_length(column).to_numpy()[kept.place])
    late = flat(column.take(pa.array(kept.place[samples])))
    texts, learned, marks, items, xy = (
        pc.struct_field(late, name) for name in ("text", "learned", "marks", "items", "xy")
    )
    numbers = flat(xy)
    first_region, first_number = offsets(items), offsets(numbers)
    owner = np.repeat(samples, np.diff(first_region))
    medium = kept.first_item[owner] + flat(items).to_numpy()
    item = np.repeat(medium, np.diff(first_number) // 2)
    return LateTexts(
        samples=samples,
        texts=texts.to_pylist(),
        learned=learned.to_pylist(),
        marks=marks.to_pylist(),
        first_region=first_region,
        first_number=first_number,
        points=flat(numbers).to_numpy().reshape(-1, 2),
        items=item,
        source_wh=np.stack([kept.media.width[item], kept.media.height[item]], axis=1),
    )


def late_column(late: Mapping[int, Row], rows: int) -> pa.ListArray:
    """The column `text` of SIZED: these, by their row."""
    places = sorted(late)
    columns = []
    for field in TEXT:
        parts = [getattr(late[place], field.name) for place in places]
        lengths = np.array([len(part) for part in parts], np.int64)
        columns.append(lists(np.concatenate([np.zeros(0, np.int32), *parts]), lengths))
    counts = np.zeros(rows, np.int64)
    counts[places] = 1
    return lists(pa.StructArray.from_arrays(columns, fields=list(TEXT)), counts)


def filled(text: str, learned: Sequence[int], numbers: Sequence[str]) -> Document:
    """The text with these in place of its NUMBERS, and the learned spans where they are then."""
    pieces = text.split(NUMBERS)
    ends = list(accumulate(len(piece) + 1 for piece in pieces[:-1]))  # one past each of NUMBERS
    grown = [0, *accumulate(len(one) - 1 for one in numbers)]
    places = [place + grown[int(np.searchsorted(ends, place, "right"))] for place in learned]
    written = [pieces[0]]
    for one, piece in zip(numbers, pieces[1:], strict=True):
        written += [one, piece]
    return Document("".join(written), list(zip(places[::2], places[1::2], strict=True)))
