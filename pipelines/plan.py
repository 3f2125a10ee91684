"""select, size and pack: all that is decided of a partition, on its small tables,
without a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import pyarrow as pa

from pipelines.recipe import Recipe
from pipelines.steps import Block, Workshop
from pipelines.store import Receipt, Store
from pipelines.text import text_spec
from schemas.columns import one_chunk
from schemas.digest import spec_digest
from workers import pack as packing
from workers import select as selection
from workers import size as sizing
from workers.match import Match, Rule
from workers.text_tokenizers import load_tokenizer
from workers.vision_ids import VisionIds

Faults = Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Partition:
    """A partition and its plan."""

    name: str
    blocks: tuple[Block, ...]
    selected: Receipt
    sized: Receipt
    packed: Receipt

    @property
    def packs(self) -> int:
        """Packs with samples in them."""
        return self.packed.facts["packs"]

    @property
    def fillers(self) -> int:
        """Empty packs that complete the last row."""
        return self.packed.facts["fillers"]

    @property
    def rows(self) -> int:
        """Rows of the global order."""
        return self.packed.facts["rows"]

    def tables(self, store: Store) -> tuple[pa.Table, pa.Table]:
        """PACKED and SIZED."""
        return store.read("packed", self.packed.key), store.read("sized", self.sized.key)


def plan_partition(workshop: Workshop, name: str, blocks: list[Block], faults: Faults) -> Partition:
    """The partition's SELECTED, SIZED and PACKED tables; `faults` are media that
    failed to render.
    """
    selected = _select(workshop, blocks, faults)
    sized = _size(workshop, blocks, selected)
    return Partition(name, tuple(blocks), selected, sized, _pack(workshop, sized))


def _select(workshop: Workshop, blocks: list[Block], faults: Faults) -> Receipt:
    recipe, store = workshop.recipe, workshop.store
    weights = {source.name: source.weight for source in recipe.sources}
    key = spec_digest(
        {
            "stage": "select",
            "version": selection.VERSION,
            "seed": recipe.seed,
            "weights": weights,
            "faults": sorted((sha256, *fault) for sha256, fault in faults.items()),
            "surveyed": [block.surveyed.digest for block in blocks],
        }
    )
    if done := store.receipt("selected", key):
        return done
    workshop.engine.local()
    tables = [store.read("surveyed", block.surveyed.key) for block in blocks]
    config = selection.SelectConfig(weights, recipe.seed, faults)
    return store.write("selected", key, selection.select(tables, config))


def _size(workshop: Workshop, blocks: list[Block], selected: Receipt) -> Receipt:
    recipe, store = workshop.recipe, workshop.store
    key = spec_digest(
        {
            "stage": "size",
            "version": sizing.VERSION,
            "policy": policy_spec(recipe),
            "text": text_spec(recipe.text),
            "capacity": recipe.pack.max_tokens,
            "render": [recipe.render.payload, recipe.render.codec],
            "selected": selected.digest,
            "surveyed": [block.surveyed.digest for block in blocks],
            "tokenized": [block.tokenized.digest for block in blocks if block.tokenized],
        }
    )
    if done := store.receipt("sized", key):
        return done
    workshop.engine.local()
    workshop.progress("size", 0, 1)
    surveyed = [store.read("surveyed", block.surveyed.key) for block in blocks]
    table = sizing.size(
        store.read("selected", selected.key),
        surveyed,
        [store.read("tokenized", block.tokenized.key) for block in blocks if block.tokenized],
        _size_config(recipe, has_media=any(_has_media(table) for table in surveyed)),
    )
    workshop.progress("size", 1, 1)
    return store.write("sized", key, table)


def _size_config(recipe: Recipe, *, has_media: bool) -> sizing.SizeConfig:
    """Raises RecipeError when there is media and the tokenizer lacks the family's tokens."""
    tokenizer = load_tokenizer(recipe.text)
    family = recipe.text.family
    ids = VisionIds.of(tokenizer, family) if has_media else VisionIds.without_media()
    return sizing.SizeConfig(
        rules=[Rule(one.policy, one.match) for one in recipe.policy],
        capacity=recipe.pack.max_tokens,
        payload=recipe.render.payload,
        codec=recipe.render.codec,
        encode=tokenizer.encode,
        around_image=ids.image.overhead,
        around_video=ids.video.overhead,
    )


def _has_media(surveyed: pa.Table) -> bool:
    return len(one_chunk(surveyed.column("items")).flatten()) > 0


def _pack(workshop: Workshop, sized: Receipt) -> Receipt:
    recipe, store = workshop.recipe, workshop.store
    key = spec_digest(
        {
            "stage": "pack",
            "version": packing.VERSION,
            "libraries": {"numpy": version("numpy")},
            "seed": recipe.seed,
            "capacity": recipe.pack.max_tokens,
            "lanes": recipe.pack.lanes,
            "sized": sized.digest,
        }
    )
    if done := store.receipt("packed", key):
        return done
    workshop.engine.local()
    workshop.progress("pack", 0, 1)
    config = packing.PackConfig(recipe.pack.max_tokens, recipe.pack.lanes, recipe.seed)
    table, totals = packing.pack(store.read("sized", sized.key), config)
    workshop.progress("pack", 1, 1)
    return store.write("packed", key, table, facts=vars(totals))


def policy_spec(recipe: Recipe) -> list[object]:
    """What of the policies shapes an output."""
    return [
        {
            **rule.policy.model_dump(mode="json"),
            "VERSION": rule.policy.VERSION,
            **({"match": rule.match.model_dump(mode="json")} if rule.match != Match() else {}),
        }
        for rule in recipe.policy
    ]


def pack_costs(packed: pa.Table, sized: pa.Table, packs: int) -> dict[str, np.ndarray]:
    """Sum of each cost over the samples of each pack, [packs] in written order,
    fillers included.
    """
    number = packed.column("pack").to_numpy()
    row = packed.column("sized_row").to_numpy()
    costs = {}
    for name in ("tokens", "patches", "attention", "vit_attention", "bytes"):
        costs[name] = np.zeros(packs, np.int64)
        np.add.at(costs[name], number, sized.column(name).to_numpy()[row])
    return costs
