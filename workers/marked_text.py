"""An encoded script as a row of TOKENIZED: its marks made ids and slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.reasons import Reason
from workers.script import MEDIA
from workers.tokenizer_protocol import BREAK_ID, Encoded

Ids = npt.NDArray[np.int32]
_NONE = np.zeros(0, np.int32)


class Row(NamedTuple):
    """What TOKENIZED has of a sample's text, or the reason why there is none."""

    tokens: Ids = _NONE
    loss: Ids = _NONE
    slots: Ids = _NONE
    drop: Reason | None = None
    message: str | None = None


NOTHING = Row(drop=Reason.EMPTY_SAMPLE, message="no text to learn from")


def row_of(marks: Sequence[int], encoded: Encoded) -> Row:
    """The row of a document whose BREAKs stand for these marks."""
    if encoded.forged:
        return Row(
            drop=Reason.BAD_RECORD, message=f"the text encodes to the token {encoded.forged}"
        )
    ids = encoded.ids
    places = np.flatnonzero(ids == BREAK_ID)
    marked = np.array(marks, np.int32)
    ids[places] = marked
    media = places[marked == MEDIA]
    learned = np.zeros(len(ids) + 2, np.int8)  # one more at each end, so that every span has edges
    for start, end in encoded.learned:
        learned[start + 1 : end + 1] = 1
    if len(media):
        ids, learned = np.delete(ids, media), np.delete(learned, media + 1)
    if not len(media) or media[0]:
        learned[1] = 0  # no token stands before the first one that could learn it
    loss = np.flatnonzero(learned[1:] != learned[:-1])  # starts and ends in turn
    if not len(loss):
        return NOTHING
    slots = media - np.arange(len(media))
    return Row(ids, loss.astype(np.int32), slots.astype(np.int32))
