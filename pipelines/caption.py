"""caption: the passes of a partition, one after another: the answers, and what they make of each
block.

Whatever needs no caption is selected before, so that no model is asked about what a header rules
out. A pass sends its blank controls first: where they show that the model does not see the pictures
nothing else is asked, and the build fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ask import ask
from pipelines.caption_parts import (
    Drops,
    Part,
    Pass,
    Said,
    asked_rows,
    keys_of,
    parts_of,
    pass_of,
)
from pipelines.caption_scores import read_scores, score
from pipelines.kept_answers import KeptAnswers
from pipelines.select import Outside, select_partition
from pipelines.signals import measure
from pipelines.steps import Block, Workshop
from pipelines.store import Receipt, Store
from schemas.digest import spec_digest
from schemas.errors import BuildError
from workers import caption as stage
from workers.caption import Drop, blank_agreement, stand_in_answer
from workers.captioning.asks import Asking, asks_of
from workers.region_texts import places_in


@dataclass(frozen=True)
class DecideTask:
    """A block whose answers are there."""

    surveyed: str
    asked: str
    drops: Drops
    said: Said
    asking: Asking
    key: str
    surveyed_key: str
    store: Store
    scored: str = ""
    """Key of the scores that decide, where some do."""


def caption_blocks(
    workshop: Workshop, blocks: Sequence[Block], outside: Outside, *, may_ask: bool
) -> list[Block]:
    """The blocks with the texts that models gave them.

    Where none may be asked, stand-ins take the places of answers that are missing, and their number
    is told. Raises BuildError where a model does not see what it is shown.
    """
    recipe = workshop.recipe
    told = list(blocks)
    drops = _dropped_before(workshop, blocks, outside)
    for number, config in enumerate(recipe.caption):
        one = pass_of(workshop, number, config)
        parts = parts_of(workshop, one, told, drops)
        lacking: dict[int, int] = {}
        if may_ask:
            parts = _finished(workshop, one, parts)
        else:
            parts, lacking = _supposed(workshop, one, parts)
        for part in parts:
            told[part.place] = _after(part, lacking.get(part.place, 0))
            drops[part.place] = {}  # from here on the table itself has them
    return told


def run_decide(task: DecideTask) -> tuple[Receipt, Receipt]:
    """Make CAPTIONED and the new SURVEYED of a block, and keep both."""
    surveyed = task.store.read("surveyed", task.surveyed)
    asked = task.store.read("asked", task.asked)
    asks = list(asks_of(surveyed, asked_rows(asked), task.asking))
    heard = task.said.heard(task.store, asked)
    if task.scored:
        heard = replace(heard, scores=read_scores(task.store, task.scored))
    captioned, told = stage.caption(surveyed, asks, heard, task.drops, task.asking)
    facts = {"places": places_in(told)}
    new = task.store.write("surveyed", task.surveyed_key, told, facts=facts)
    return task.store.write("captioned", task.key, captioned), new


def _dropped_before(workshop: Workshop, blocks: Sequence[Block], outside: Outside) -> list[Drops]:
    """For each block the rows that are out by what needs no caption, with reason and message."""
    before = workshop.with_select(workshop.recipe.select.before_captions(workshop.recipe.signals))
    measured = measure(before, blocks)
    selected = select_partition(before, blocks, replace(outside, faults={}), measured)
    table = workshop.store.read("selected", selected.key)
    drops, messages = (table.column(name).to_pylist() for name in ("drop", "message"))
    found: list[Drops] = []
    first = 0
    for block in blocks:
        end = first + block.surveyed.rows
        rows = enumerate(zip(drops[first:end], messages[first:end], strict=True))
        found.append({row: (drop, message) for row, (drop, message) in rows if drop is not None})
        first = end
    return found


def _finished(workshop: Workshop, one: Pass, parts: Sequence[Part]) -> list[Part]:
    """All parts done: asked what is missing, proved, decided."""
    todo = [part for part in parts if part.done is None]
    if not todo:
        return list(parts)
    store = workshop.store
    asked = {part.place: store.read("asked", part.asked.key) for part in todo}
    controlled = {place: _with_control(table) for place, table in asked.items()}
    faults = _ask_missing(workshop, one, todo, controlled)
    _prove(workshop, one, controlled.values())
    faults |= _ask_missing(workshop, one, todo, asked)
    answers = KeptAnswers(store)
    said = {place: _said(answers, faults, table) for place, table in asked.items()}
    scored = score(workshop, one, todo, said)
    return _decided(workshop, one, parts, said, scored)


def _supposed(
    workshop: Workshop, one: Pass, parts: Sequence[Part]
) -> tuple[list[Part], dict[int, int]]:
    """All parts done as far as answers are there, with stand-ins for the others; by place how many
    are missing. A key of its own keeps such tables apart.
    """
    todo = [part for part in parts if part.done is None]
    if not todo:
        return list(parts), {}
    store, kept = workshop.store, KeptAnswers(workshop.store)
    supposed: dict[int, Part] = {}
    said: dict[int, Said] = {}
    lacking: dict[int, int] = {}
    for part in todo:
        asked = store.read("asked", part.asked.key)
        missing = kept.missing(keys_of(asked))
        stand_in = stand_in_answer(one.asking.config.task)
        said[part.place] = replace(_said(kept, {}, asked), stand_in=stand_in)
        key = spec_digest({"stage": "supposed", "captioned": part.key, "missing": missing})
        supposed[part.place] = replace(part, key=key)
        lacking[part.place] = len(missing)
    there = [supposed.get(part.place, part) for part in parts]
    return _decided(workshop, one, there, said, {}), lacking


def _decided(
    workshop: Workshop,
    one: Pass,
    parts: Sequence[Part],
    said: Mapping[int, Said],
    scored: Mapping[int, str],
) -> list[Part]:
    """All parts done, from what was said about those that are not."""
    tasks = [
        DecideTask(
            surveyed=part.block.surveyed.key,
            asked=part.asked.key,
            drops=part.drops,
            said=said[part.place],
            asking=one.asking,
            key=part.key,
            surveyed_key=part.surveyed_key,
            store=workshop.store,
            scored=scored.get(part.place, ""),
        )
        for part in parts
        if part.done is None
    ]
    made = {pair[0].key: pair for pair in workshop.run("captioned", run_decide, tasks)}
    return [part if part.done else replace(part, done=made[part.key]) for part in parts]


def _said(answers: KeptAnswers, faults: Mapping[str, Drop], asked: pa.Table) -> Said:
    keys = keys_of(asked)
    return Said(answers.files(keys), {key: faults[key] for key in keys if key in faults})


def _ask_missing(
    workshop: Workshop, one: Pass, todo: Sequence[Part], asked: Mapping[int, pa.Table]
) -> dict[str, Drop]:
    """Ask what has no answer yet of these ASKED tables; the faults by key."""
    kept = KeptAnswers(workshop.store)
    wanted = [
        (part.block, asked_rows(asked[part.place]), kept.missing(keys_of(asked[part.place])))
        for part in todo
    ]
    return ask(workshop, one.asking, one.directory, wanted)


def _prove(workshop: Workshop, one: Pass, controlled: Iterable[pa.Table]) -> None:
    """Raises BuildError where too many answers do not depend on the pictures; these are forgotten,
    so that a server that sees can be asked again.
    """
    kept = KeptAnswers(workshop.store)
    table = pa.concat_tables(controlled)
    pairs = list(
        zip(table.column("key").to_pylist(), table.column("blank_key").to_pylist(), strict=True)
    )
    checked, agreed = blank_agreement(pairs, kept.of(keys_of(table)))
    config = one.asking.config
    if agreed > config.max_blank_agreement * checked:
        kept.forget(keys_of(table))
        what = f"{agreed} of {checked} answers of {config.model}"
        where = f" at {config.endpoint}" if config.endpoint else ""
        limit = f"more than max_blank_agreement = {config.max_blank_agreement}"
        raise BuildError(
            f"caption.{one.number}: {what}{where} are the same for a blank picture, {limit}: "
            "it does not see what it is shown"
        )


def _with_control(asked: pa.Table) -> pa.Table:
    return asked.filter(pc.not_equal(asked.column("blank_key"), ""))


def _after(part: Part, lacking: int) -> Block:
    """The block after a pass, and how many answers it lacks."""
    assert part.done is not None  # made before
    block = part.block
    return replace(
        block,
        surveyed=part.done[1],
        before_caption=block.before_caption or block.surveyed,
        captions=(*block.captions, part.asked, *part.done),
        unanswered=block.unanswered + lacking,
    )
