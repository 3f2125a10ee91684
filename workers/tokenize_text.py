"""Tokenize: SURVEYED -> TOKENIZED: ids of the text, what is learned, where the media stand.

The recipe's template writes each conversation down (`script`, `chat_template`), all documents of a
block are encoded in one call, and the marks in the result become special tokens or slots. No vision
token is written here: how many there are is decided later, from the sizes of the pictures. So are
the numbers of regions that count pixels of these: a text with such ones stays a text (`late_text`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import lists
from schemas.errors import ContractError
from schemas.reasons import Reason
from schemas.tables import LATE, TOKENIZED, conform
from workers.chat_template import TemplateRefusalError
from workers.marked_text import NOTHING, Ids, Row, row_of
from workers.region_texts import region_texts
from workers.regions import Region
from workers.script import Script, write_chatml, write_plain
from workers.text_config import TextConfig, TokenizeConfig
from workers.tokenizer_protocol import Tokenizer, reserved_character
from workers.turns import Turn, media_in_front, read_turns, reserved_rows, with_suffix

VERSION = 3


class _Late(NamedTuple):
    """A script that waits for sizes, and the regions whose numbers it lacks, in order."""

    script: Script
    regions: Sequence[Region]


def tokenize(table: pa.Table, tokenizer: Tokenizer, config: TokenizeConfig) -> pa.Table:
    """Row for row; samples dropped before get empty lists, and `drop` holds only this stage's."""
    if config.text.template == "none":
        return _media_alone(table)
    write = _writer(tokenizer, config.text)
    regions = region_texts(table, config.text.regions)
    reserved = reserved_rows(table.column("turns"))
    names = ("sample_id", "drop", "source")
    ids, drops, sources = (table.column(name).to_pylist() for name in names)
    items = pc.list_value_length(table.column("items")).to_pylist()
    columns = (ids, drops, sources, items, read_turns(table.column("turns"), regions.texts))
    rows: list[Row] = []
    late: dict[int, _Late] = {}
    scripts: dict[int, Script] = {}
    for row, (sample_id, dropped, source, shown, turns) in enumerate(zip(*columns, strict=True)):
        found: Script | Row = Row()
        if dropped is None:
            _check_items(turns, shown)
            placed = media_in_front(turns) if _to_front(sample_id, config) else turns
            suffix = config.prompt_suffix.get(source, "")
            if character := reserved.get(row) or reserved_character([suffix]):
                found = _bad(f"the text holds {character}, a noncharacter")
            elif row in regions.faults:
                found = Row(drop=Reason.BAD_BOX, message=regions.faults[row])
            else:
                found = _script(with_suffix(placed, suffix) if suffix else placed, write)
        rows.append(found if isinstance(found, Row) else Row())
        if isinstance(found, Script):
            if row in regions.late:
                late[row] = _Late(found, regions.late[row])
            else:
                scripts[row] = found
    encoded = tokenizer.encode_documents([script.document for script in scripts.values()])
    for (index, script), tokens in zip(scripts.items(), encoded, strict=True):
        rows[index] = row_of(script.marks, tokens)
    return _table(table.column("sample_id"), rows, late)


def _media_alone(table: pa.Table) -> pa.Table:
    """Every medium at place 0 of no text; a sample without media is dropped."""
    items = pc.list_value_length(table.column("items")).to_pylist()
    columns = zip(table.column("drop").to_pylist(), items, strict=True)
    nothing = Row(drop=Reason.EMPTY_SAMPLE, message="no picture and no video")
    rows = [
        Row() if dropped else Row(slots=np.zeros(shown, np.int32)) if shown else nothing
        for dropped, shown in columns
    ]
    return _table(table.column("sample_id"), rows, {})


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
    if not any(turn.learned and turn.has_text for turn in turns):
        return NOTHING
    try:
        return write(turns)
    except TemplateRefusalError as error:
        return _bad(str(error))


def _bad(message: str) -> Row:
    return Row(drop=Reason.BAD_RECORD, message=message)


def _table(sample_id: pa.ChunkedArray, rows: Sequence[Row], late: Mapping[int, _Late]) -> pa.Table:
    def column(values: list[Ids]) -> pa.ListArray:
        counts = np.array([len(v) for v in values], np.int64)
        return lists(np.concatenate([np.zeros(0, np.int32), *values]), counts)

    columns = [
        sample_id,
        column([row.tokens for row in rows]),
        column([row.loss for row in rows]),
        column([row.slots for row in rows]),
        _late_column(late, len(rows)),
        pa.array([row.drop for row in rows], pa.string()),
        pa.array([row.message for row in rows], pa.string()),
    ]
    return conform(pa.Table.from_arrays(columns, names=TOKENIZED.names), TOKENIZED)


def _late_column(late: Mapping[int, _Late], rows: int) -> pa.ListArray:
    """These scripts by their row; rising, as rows are gone through in order."""
    values = [
        {
            "text": script.document.text,
            "learned": list(chain.from_iterable(script.document.learned)),
            "marks": script.marks,
            "items": [region.item for region in regions],
            "xy": [region.xy for region in regions],
        }
        for script, regions in late.values()
    ]
    counts = np.zeros(rows, np.int64)
    counts[list(late)] = 1
    return lists(pa.array(values, LATE), counts)
