"""Duplicates within a partition and of earlier ones: by the survey and the signals of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipelines.signals import Measured
from pipelines.steps import Block, Workshop
from pipelines.store import Receipt, Store
from schemas.digest import spec_digest
from workers import duplicates as stage
from workers.duplicates import KNOWN, Keys, joined, keys_of

VERSION = 3


def deduplicated(
    workshop: Workshop,
    blocks: Sequence[Block],
    measured: Sequence[Measured],
    selected: pa.Table,
    earlier: Sequence[str],
) -> pa.Table:
    """SELECTED without what repeats; `earlier` are keys of KNOWN tables."""
    tables = [KNOWN.empty_table(), *workshop.store.read_all("known", earlier)]
    keys = _keys(workshop, blocks, measured)
    dedup = workshop.recipe.select.dedup
    known = pa.concat_tables(tables)
    return stage.without_duplicates(selected, keys, known, dedup.near_bits, dedup.text)


def known(
    workshop: Workshop, blocks: Sequence[Block], measured: Sequence[Measured], selected: Receipt
) -> Receipt:
    """KNOWN of a partition, for those after it; kept in the cache."""
    store: Store = workshop.store
    key = known_key(
        workshop.recipe.select.dedup.model_dump(mode="json"),
        selected.digest,
        [block.surveyed.digest for block in blocks],
        [digest for one in measured for digest in one.digests],
    )
    if done := store.receipt("known", key):
        return done
    workshop.engine.local()
    table = store.read("selected", selected.key)
    return store.write("known", key, stage.known_of(table, _keys(workshop, blocks, measured)))


def known_key(
    dedup: Mapping[str, object], selected: str, surveyed: Sequence[str], signals: Sequence[str]
) -> str:
    """Where they are kept, by the section of the recipe and the digests of the tables."""
    return spec_digest(
        {
            "stage": "known",
            "version": VERSION,
            "dedup": dedup,
            "selected": selected,
            "surveyed": surveyed,
            "signals": signals,
        }
    )


def _keys(workshop: Workshop, blocks: Sequence[Block], measured: Sequence[Measured]) -> Keys:
    store, dedup = workshop.store, workshop.recipe.select.dedup
    parts = []
    for block, one in zip(blocks, measured, strict=True):
        surveyed = store.read("surveyed", block.surveyed.key)
        pictures = texts = None
        if dedup.near_bits is not None:
            pictures = store.read("signals", one.receipts["picture"].key)
        if dedup.text is not None:
            texts = store.read("signals", one.receipts["text"].key)
        parts.append(keys_of(surveyed, pictures, texts, dedup.exact))
    return joined(parts)
