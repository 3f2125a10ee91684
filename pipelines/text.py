"""tokenize: each block's text becomes token ids, loss spans and vision slots, on Ray."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipelines.recipe import Recipe
from pipelines.steps import Block, Workshop
from pipelines.store import Receipt, Store
from schemas.digest import spec_digest
from schemas.libraries import version
from workers import tokenize_text as stage
from workers.text_config import TextConfig, TokenizeConfig
from workers.text_tokenizers import load_tokenizer, tokenizer_digest


@dataclass(frozen=True)
class TokenizeTask:
    """One surveyed block to tokenize."""

    surveyed: str
    config: TokenizeConfig
    key: str
    store: Store


def tokenize_blocks(workshop: Workshop, blocks: list[Block]) -> list[Block]:
    """The blocks with their TOKENIZED tables."""
    store = workshop.store
    shape = text_spec(workshop.recipe.text)
    suffixes = {name: source.prompt_suffix for name, source in workshop.sources.items()}
    tasks = [
        _task(workshop.recipe, shape, block, suffixes[block.source], store) for block in blocks
    ]
    receipts = store.receipts("tokenized", {task.key: None for task in tasks})
    todo = {task.key: task for task in tasks if receipts[task.key] is None}
    for receipt in workshop.run("tokenize", run_tokenize, list(todo.values())):
        receipts[receipt.key] = receipt
    return [
        replace(block, tokenized=receipts[task.key])
        for block, task in zip(blocks, tasks, strict=True)
    ]


def run_tokenize(task: TokenizeTask) -> Receipt:
    """Tokenize one block and keep its table."""
    tokenizer = load_tokenizer(task.config.text)
    table = stage.tokenize(task.store.read("surveyed", task.surveyed), tokenizer, task.config)
    return task.store.write("tokenized", task.key, table)


def text_spec(config: TextConfig) -> dict[str, object]:
    """What of the text section shapes an output: the tokenizer by its content, not by where it
    lies.
    """
    spec: dict[str, object] = config.model_dump(mode="json", exclude={"tokenizer"})
    if config.media == "in_place":
        del spec["media"]  # as before there was a choice: older caches stay valid
    if config.regions == "auto":
        del spec["regions"]
    spec["tokenizer"] = tokenizer_digest(config)
    if config.tokenizer != "bytes":
        names = ("jinja2", "tokenizers", "transformers")
        spec["libraries"] = {name: version(name) for name in names}
    return spec


def _task(
    recipe: Recipe, shape: dict[str, object], block: Block, suffix: str, store: Store
) -> TokenizeTask:
    draws = {"seed": recipe.seed} if recipe.text.media == "mixed" else {}
    config = TokenizeConfig(text=recipe.text, prompt_suffix={block.source: suffix}, **draws)
    key = spec_digest(
        {
            "stage": "tokenize",
            "version": stage.VERSION,
            "text": {name: value for name, value in shape.items() if name not in _idle(block)},
            "prompt_suffix": suffix,
            "surveyed": block.surveyed.digest,
            **draws,
        }
    )
    return TokenizeTask(block.surveyed.key, config, key, store)


def _idle(block: Block) -> tuple[str, ...]:
    """Settings that shape no token of a block: a family's tokens come in when media are sized, and
    the way of regions matters where there are some.
    """
    return ("family",) if block.surveyed.facts.get("places", 1) else ("family", "regions")
