"""Tokenize: SURVEYED -> TOKENIZED: ids of the text, what is learned, where the media stand.

The recipe's template writes each conversation down (`script`, `chat_template`), all documents of a
block are encoded in one call, and the marks in the result become special tokens or slots. No vision
token is written here: how many there are is decided later, from the sizes of the pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import lists
from schemas.errors import ContractError
from schemas.reasons import Reason
from schemas.tables import TOKENIZED, conform
from workers.chat_template import TemplateRefusalError
from workers.script import MEDIA, Script, write_chatml, write_plain
from workers.text_config import TextConfig, TokenizeConfig
from workers.tokenizer_protocol import BREAK_ID, Encoded, Tokenizer, reserved_character
from workers.turns import Turn, media_in_front, read_turns, with_suffix

VERSION = 1

Ids = npt.NDArray[np.int32]
_NONE = np.zeros(0, np.int32)


class Row(NamedTuple):
    """One row of TOKENIZED beside its id."""

    tokens: Ids = _NONE
    loss: Ids = _NONE
    slots: Ids = _NONE
    drop: Reason | None = None
    message: str | None = None


_NOTHING = Row(drop=Reason.EMPTY_SAMPLE, message="no text to learn from")


def tokenize(table: pa.Table, tokenizer: Tokenizer, config: TokenizeConfig) -> pa.Table:
    """Row for row; samples dropped before get empty lists, and `drop` holds only this stage's."""
    write = _writer(tokenizer, config.text)
    names = ("sample_id", "drop", "source")
    ids, drops, sources = (table.column(name).to_pylist() for name in names)
    items = pc.list_value_length(table.column("items")).to_pylist()
    columns = (ids, drops, sources, items, read_turns(table.column("turns")))
    rows: list[Row] = []
    scripts: dict[int, Script] = {}
    for sample_id, dropped, source, shown, turns in zip(*columns, strict=True):
        found: Script | Row = Row()
        if dropped is None:
            _check_items(turns, shown)
            placed = media_in_front(turns) if _to_front(sample_id, config) else turns
            suffix = config.prompt_suffix.get(source)
            found = _script(with_suffix(placed, suffix) if suffix else placed, write)
        if isinstance(found, Script):
            scripts[len(rows)] = found
        rows.append(Row() if isinstance(found, Script) else found)
    encoded = tokenizer.encode_documents([script.document for script in scripts.values()])
    for (index, script), tokens in zip(scripts.items(), encoded, strict=True):
        rows[index] = _row(script, tokens)
    return _table(table.column("sample_id"), rows)


def _writer(tokenizer: Tokenizer, config: TextConfig) -> Callable[[Sequence[Turn]], Script]:
    if config.template == "plain":
        return lambda turns: write_plain(turns, tokenizer)
    if config.template == "chatml":
        return lambda turns: write_chatml(turns, tokenizer)
    template = tokenizer.chat_template()

    def write(turns: Sequence[Turn]) -> Script:
        documents = sum(turn.role == "text" for turn in turns)
        if documents == len(turns):
            return write_plain(turns, tokenizer)
        if documents:
            raise TemplateRefusalError("a turn of role text stands in a conversation")
        return template.write(turns, tokenizer)

    return write


def _to_front(sample_id: str, config: TokenizeConfig) -> bool:
    """Whether the media of this sample go to the front; a sample's copies are all alike."""
    if config.text.media != "mixed":
        return config.text.media == "front"
    return hashlib.sha256(f"{config.seed}/media/{sample_id}".encode()).digest()[0] < 128


def _check_items(turns: Iterable[Turn], items: int) -> None:
    shown = [part for turn in turns for part in turn.parts if isinstance(part, int)]
    if shown != list(range(items)):
        raise ContractError(f"turns show the items {shown}, expected 0 to {items - 1} in order")


def _script(turns: Sequence[Turn], write: Callable[[Sequence[Turn]], Script]) -> Script | Row:
    found = reserved_character(p for turn in turns for p in turn.parts if isinstance(p, str))
    if found:
        return Row(drop=Reason.BAD_RECORD, message=f"the text holds {found}, a noncharacter")
    if not any(turn.learned and turn.has_text for turn in turns):
        return _NOTHING
    try:
        return write(turns)
    except TemplateRefusalError as error:
        return Row(drop=Reason.BAD_RECORD, message=str(error))


def _row(script: Script, encoded: Encoded) -> Row:
    """The marks of an encoded script made ids and slots."""
    if encoded.forged:
        return Row(
            drop=Reason.BAD_RECORD, message=f"the text encodes to the token {encoded.forged}"
        )
    ids = encoded.ids
    places = np.flatnonzero(ids == BREAK_ID)
    marks = np.array(script.marks, np.int32)
    ids[places] = marks
    media = places[marks == MEDIA]
    learned = np.zeros(len(ids) + 2, np.int8)  # one more at each end, so that every span has edges
    for start, end in encoded.learned:
        learned[start + 1 : end + 1] = 1
    if len(media):
        ids, learned = np.delete(ids, media), np.delete(learned, media + 1)
    loss = np.flatnonzero(learned[1:] != learned[:-1])  # starts and ends in turn
    if not len(loss):
        return _NOTHING
    slots = media - np.arange(len(media))
    return Row(ids, loss.astype(np.int32), slots.astype(np.int32))


def _table(sample_id: pa.ChunkedArray, rows: Sequence[Row]) -> pa.Table:
    def column(values: list[Ids]) -> pa.ListArray:
        counts = np.array([len(v) for v in values], np.int64)
        return lists(np.concatenate([_NONE, *values]), counts)

    columns = [
        sample_id,
        column([row.tokens for row in rows]),
        column([row.loss for row in rows]),
        column([row.slots for row in rows]),
        pa.array([row.drop for row in rows], pa.string()),
        pa.array([row.message for row in rows], pa.string()),
    ]
    return conform(pa.Table.from_arrays(columns, names=TOKENIZED.names), TOKENIZED)
