"""What a pass of captions is over a partition: its spec, the blocks that it has something to ask
about, and how far each of them is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from pipelines.kept_answers import read_answers
from pipelines.plan import policy_spec
from pipelines.select_recipe import Select
from pipelines.signals import clause_failures, measure
from pipelines.steps import Block, Workshop
from pipelines.store import Receipt, Store
from schemas.digest import spec_digest
from schemas.libraries import version
from workers import caption as stage
from workers.caption import Drop, Heard, Record
from workers.captioning import asks as asking_stage
from workers.captioning.asks import Asking, asked_table, asks_of
from workers.captioning.config import OPERATION, Caption, WhenSignal
from workers.captioning.prompts import load_prompt
from workers.captioning.spoken import learned_text, takes
from workers.checkpoint import checkpoint, checkpoint_digest
from workers.signals.model_config import ModelSignal

Drops = Mapping[int, Drop]
"""Rows of a block that are out."""


@dataclass(frozen=True)
class Pass:
    """One `[[caption]]` of the recipe."""

    number: int
    asking: Asking
    directory: str
    """Of a model that runs in the cluster."""
    scorer: ModelSignal | None
    """What decides where the better text is kept."""
    spec: Mapping[str, object]


@dataclass(frozen=True)
class Part:
    """A block in a pass that asks something about it."""

    place: int  # among the partition's blocks
    block: Block
    drops: Drops
    asked: Receipt
    key: str
    done: tuple[Receipt, Receipt] | None = None
    """CAPTIONED, and the new SURVEYED."""

    @property
    def surveyed_key(self) -> str:
        """Of the new SURVEYED table."""
        return spec_digest({"stage": "survey", "captioned": self.key})


@dataclass(frozen=True)
class Said:
    """Where answers about a block lie, and what there is in place of others."""

    files: tuple[str, ...]
    faults: Mapping[str, Drop] = field(default_factory=dict)
    stand_in: Record | None = None
    """Taken for answers that are not there, by a plan."""

    def heard(self, store: Store, asked: pa.Table) -> Heard:
        """The answers, read."""
        keys = keys_of(asked)
        answers = read_answers(store, self.files, keys)
        if self.stand_in is not None:
            texts = asked.column("key").to_pylist()
            answers = {**dict.fromkeys(texts, self.stand_in), **answers}
        return Heard(answers, self.faults)


@dataclass(frozen=True)
class AskedTask:
    """A block to be asked about: those of these rows that a pass has something to ask about."""

    surveyed: str
    candidates: tuple[int, ...]
    asking: Asking
    key: str
    store: Store


def pass_of(workshop: Workshop, number: int, config: Caption) -> Pass:
    """A pass. Raises RecipeError for a prompt or a model that is not there."""
    directory = ""
    model = config.model
    if config.endpoint is None:
        found = checkpoint(config.model, f"caption.{number}.model")
        directory, model = str(found), checkpoint_digest(found)
    prompt = load_prompt(config.task, config.prompt)
    asking = Asking(config, prompt, model, workshop.recipe.seed, workshop.rules)
    spec = _spec(asking)
    scorer = next((one for one in workshop.recipe.signal if one.name == config.score), None)
    if scorer is not None:
        key = f"signal.{workshop.recipe.signal.index(scorer)}.model"
        spec["score"] = checkpoint_digest(checkpoint(scorer.model, key))
    return Pass(number, asking, directory, scorer, spec)


def parts_of(
    workshop: Workshop, one: Pass, blocks: Sequence[Block], drops: Sequence[Drops]
) -> list[Part]:
    """The blocks that a pass asks about; of each row in `drops` it does not."""
    store = workshop.store
    mine = [n for n, block in enumerate(blocks) if _is_of(one.asking.config, block)]
    tasks = [
        _asked_task(store, one, blocks[place], rows)
        for place, rows in zip(mine, _candidates(workshop, one, blocks, mine, drops), strict=True)
    ]
    receipts = store.receipts("asked", {task.key: None for task in tasks})
    todo = {task.key: task for task in tasks if receipts[task.key] is None}
    for receipt in workshop.run("ask", run_asked, list(todo.values())):
        receipts[receipt.key] = receipt
    parts = []
    for place, task in zip(mine, tasks, strict=True):
        asked = receipts[task.key]
        if asked is not None and asked.rows:
            key = _captioned_key(one, blocks[place], drops[place], asked)
            part = Part(place, blocks[place], drops[place], asked, key)
            parts.append(replace(part, done=_done(store, part)))
    return parts


def run_asked(task: AskedTask) -> Receipt:
    """Find what is asked about a block, and keep it."""
    surveyed = task.store.read("surveyed", task.surveyed)
    taken = surveyed.take(pa.array(task.candidates, pa.int64()))
    config = task.asking.config
    turns, drops = taken.column("turns").to_pylist(), taken.column("drop").to_pylist()
    kinds = [[item["kind"] for item in items] for items in taken.column("items").to_pylist()]
    asked = [
        row
        for row, said, drop, shown in zip(task.candidates, turns, drops, kinds, strict=True)
        if drop is None
        and takes(config.task, said, shown)
        and not (config.applies == "missing" and learned_text(said))
    ]
    return task.store.write(
        "asked", task.key, asked_table(list(asks_of(surveyed, asked, task.asking)))
    )


def asked_rows(asked: pa.Table) -> list[int]:
    """The rows that are asked about, in order."""
    rows: list[int] = np.unique(asked.column("row").to_numpy()).tolist()
    return rows


def keys_of(asked: pa.Table) -> list[str]:
    """Of requests and their controls, each once, in order."""
    keys = [*asked.column("key").to_pylist(), *asked.column("blank_key").to_pylist()]
    return [key for key in dict.fromkeys(keys) if key]


def _spec(asking: Asking) -> dict[str, object]:
    """What of a pass shapes its outcome: the model and the prompt by their content."""
    config = asking.config
    return {
        **config.model_dump(mode="json", exclude={*OPERATION, "sources", "prompt"}),
        "model": asking.model,
        "prompt": asking.prompt.model_dump(mode="json"),
        "seed": asking.seed,
        "versions": [asking_stage.VERSION, stage.VERSION],
        "py3langid": version("py3langid"),
        **({} if config.max_pixels else {"policy": policy_spec(asking.rules)}),
    }


def _is_of(config: Caption, block: Block) -> bool:
    """A data set of an InternVL meta file belongs to its source."""
    return not config.sources or block.source.partition(".")[0] in config.sources


def _candidates(
    workshop: Workshop,
    one: Pass,
    blocks: Sequence[Block],
    mine: Sequence[int],
    drops: Sequence[Drops],
) -> Iterator[list[int]]:
    """Of each of these blocks the rows that are in, and below the value of a signal."""
    applies = one.asking.config.applies
    if not isinstance(applies, WhenSignal):
        for place in mine:
            yield [row for row in range(blocks[place].surveyed.rows) if row not in drops[place]]
        return
    only = workshop.with_select(Select(where=(applies.clause,)))
    chosen = [blocks[place] for place in mine]
    failures = clause_failures(only, chosen, measure(only, chosen))
    for place, (_, failed) in zip(mine, failures, strict=True):
        below = np.flatnonzero(failed[applies.clause]).tolist()
        yield [row for row in below if row not in drops[place]]


def _asked_task(store: Store, one: Pass, block: Block, rows: Sequence[int]) -> AskedTask:
    spec = {"stage": "asked", "surveyed": block.surveyed.digest, "rows": rows, **one.spec}
    return AskedTask(block.surveyed.key, tuple(rows), one.asking, spec_digest(spec), store)


def _captioned_key(one: Pass, block: Block, drops: Drops, asked: Receipt) -> str:
    return spec_digest(
        {
            "stage": "captioned",
            "surveyed": block.surveyed.digest,
            "asked": asked.digest,
            "drops": [[row, *drop] for row, drop in sorted(drops.items())],
            **one.spec,
        }
    )


def _done(store: Store, part: Part) -> tuple[Receipt, Receipt] | None:
    captioned = store.receipt("captioned", part.key)
    surveyed = store.receipt("surveyed", part.surveyed_key)
    return (captioned, surveyed) if captioned and surveyed else None
