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
from pipelines.caption_parts import Drops, Part, Pass, asked_rows, parts_of, pass_of
from pipelines.caption_scores import with_scores
from pipelines.kept_answers import KeptAnswers
from pipelines.select import Outside, select_partition
from pipelines.signals import measure
from pipelines.steps import Block, Workshop
from pipelines.store import Receipt, Store
from schemas.digest import spec_digest
from schemas.errors import BuildError
from workers import caption as stage
from workers.caption import Drop, Heard, blank_agreement, stand_in_answer
from workers.captioning.asks import Asking, asks_of
from workers.region_texts import places_in


@dataclass(frozen=True)
class DecideTask:
    """A block whose answers are there."""

    surveyed: str
    asked: str
    drops: Drops
    heard: Heard
    asking: Asking
    key: str
    surveyed_key: str
    store: Store


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
    rows = asked_rows(task.store.read("asked", task.asked))
    asks = list(asks_of(surveyed, rows, task.asking))
    captioned, told = stage.caption(surveyed, asks, task.heard, task.drops, task.asking)
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
    heard = {place: _heard(answers, faults, table) for place, table in asked.items()}
    heard = with_scores(workshop, one, todo, heard)
    return _decided(workshop, one, parts, heard)


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
    heard: dict[int, Heard] = {}
    lacking: dict[int, int] = {}
    for part in todo:
        asked = store.read("asked", part.asked.key)
        missing = kept.missing(_keys(asked))
        found = _heard(kept, {}, asked)
        texts = [key for key in asked.column("key").to_pylist() if key not in found.answers]
        stand_in = stand_in_answer(one.asking.config.task)
        heard[part.place] = Heard({**dict.fromkeys(texts, stand_in), **found.answers})
        key = spec_digest({"stage": "supposed", "captioned": part.key, "missing": missing})
        supposed[part.place] = replace(part, key=key)
        lacking[part.place] = len(missing)
    return _decided(
        workshop, one, [supposed.get(part.place, part) for part in parts], heard
    ), lacking


def _decided(
    workshop: Workshop, one: Pass, parts: Sequence[Part], heard: Mapping[int, Heard]
) -> list[Part]:
    """All parts done, from what was heard of those that are not."""
    tasks = [
        DecideTask(
            surveyed=part.block.surveyed.key,
            asked=part.asked.key,
            drops=part.drops,
            heard=heard[part.place],
            asking=one.asking,
            key=part.key,
            surveyed_key=part.surveyed_key,
            store=workshop.store,
        )
        for part in parts
        if part.done is None
    ]
    made = {pair[0].key: pair for pair in workshop.run("captioned", run_decide, tasks)}
    return [part if part.done else replace(part, done=made[part.key]) for part in parts]


def _ask_missing(
    workshop: Workshop, one: Pass, todo: Sequence[Part], asked: Mapping[int, pa.Table]
) -> dict[str, Drop]:
    """Ask what has no answer yet of these ASKED tables; the faults by key."""
    kept = KeptAnswers(workshop.store)
    wanted = [
        (part.block, asked_rows(asked[part.place]), kept.missing(_keys(asked[part.place])))
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
    checked, agreed = blank_agreement(pairs, kept.of(_keys(table)))
    config = one.asking.config
    if agreed > config.max_blank_agreement * checked:
        kept.forget(_keys(table))
        what = f"{agreed} of {checked} answers of {config.model}"
        where = f" at {config.endpoint}" if config.endpoint else ""
        limit = f"more than max_blank_agreement = {config.max_blank_agreement}"
        raise BuildError(
            f"caption.{one.number}: {what}{where} are the same for a blank picture, {limit}: "
            "it does not see what it is shown"
        )


def _with_control(asked: pa.Table) -> pa.Table:
    return asked.filter(pc.not_equal(asked.column("blank_key"), ""))


def _keys(asked: pa.Table) -> list[str]:
    """Of requests and their controls, each once, in order."""
    keys = [*asked.column("key").to_pylist(), *asked.column("blank_key").to_pylist()]
    return [key for key in dict.fromkeys(keys) if key]


def _heard(answers: KeptAnswers, faults: Mapping[str, Drop], asked: pa.Table) -> Heard:
    keys = _keys(asked)
    return Heard(answers.of(keys), {key: faults[key] for key in keys if key in faults})


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
