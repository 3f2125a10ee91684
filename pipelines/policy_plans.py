"""What each of several policies would make of the same data: tokens, packs, pixels, modelled work.

Sources are surveyed once; the rest is arithmetic on tables, kept in the cache as a build with that
policy has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.balance import pack_costs
from pipelines.build import RunStage, find, published, read
from pipelines.plan import Partition, plan_partition
from pipelines.recipe import Recipe
from pipelines.select import Outside
from pipelines.steps import Block, Workshop
from pipelines.text import tokenize_blocks
from schemas.columns import Ints, one_chunk
from schemas.reasons import Reason
from workers.ledger import drop_counts
from workers.packing.profile import Profile, profiles

PERCENTILES = (5, 25, 50, 75, 95, 99)


@dataclass(frozen=True)
class PolicyPlan:
    """Of one policy; shares are of 1, work in 10¹⁵ floating point operations of a forward pass."""

    policy: str
    samples: int
    """Seen."""
    packed: int
    dropped: dict[str, int]
    over_long: float
    """Share of the samples that no smaller step makes fit."""
    tokens: int
    tokens_of_a_sample: dict[str, int]
    """By percentile: p5, p25, …"""
    packs: int
    fillers: int
    fill: float
    pixels_kept: float
    """Share of the pictures' pixels that are left after resizing; enlarging adds none."""
    upscaled: float
    """Share of the pictures that are enlarged."""
    llm_petaflop: float
    vit_petaflop: float | None
    """None where `pack.model` names no tower."""

    def as_json(self) -> dict[str, object]:
        """By field."""
        return asdict(self)


def plan_policies(
    workshop: Workshop, run: RunStage, recipes: Mapping[str, Recipe]
) -> Iterator[PolicyPlan]:
    """The plan of each recipe over the sources of the workshop's, which all of them have; one after
    another, as they are done, under the names that they are given.
    """
    found = find(workshop, run, published(workshop))
    parts = list(read(workshop, run, found, may_ask=False))
    for name, recipe in recipes.items():
        other = workshop.with_recipe(recipe)
        planned = [
            run(f"plan {partition}", partial(_planned, other, partition, blocks, outside))
            for partition, blocks, outside in parts
        ]
        yield _summed(other, name, planned)


def _planned(workshop: Workshop, name: str, blocks: list[Block], outside: Outside) -> Partition:
    judging = workshop.judging(blocks)
    return plan_partition(judging, name, tokenize_blocks(judging, blocks), outside)


def _summed(workshop: Workshop, name: str, partitions: Sequence[Partition]) -> PolicyPlan:
    recipe, store = workshop.recipe, workshop.store
    costs: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    lengths: list[Ints] = []
    areas: list[Ints] = []
    seen = 0
    for partition in partitions:
        packed, sized = partition.tables(store)
        of_packs = pack_costs(packed, sized, partition.rows * recipe.pack.lanes)
        costs.update({cost: int(values.sum()) for cost, values in of_packs.items()})
        dropped.update(drop_counts(sized))
        seen += len(sized)
        alive = np.flatnonzero(pc.is_null(sized.column("drop")).to_numpy())
        lengths.append(sized.column("length").to_numpy()[alive])
        keys = [block.surveyed.key for block in partition.blocks]
        areas.append(_areas(store.read_all("surveyed", keys), sized, alive))
    every = np.concatenate([np.zeros(0, np.int64), *lengths])
    source, resized = np.concatenate([np.zeros((0, 2), np.int64), *areas]).T
    packs = sum(one.packs for one in partitions)
    model = recipe.pack.model
    shapes = profiles()[model] if isinstance(model, str) else model
    return PolicyPlan(
        policy=name,
        samples=seen,
        packed=seen - dropped.total(),
        dropped=dict(sorted(dropped.items())),
        over_long=dropped[Reason.OVER_LONG.value] / max(seen, 1),
        tokens=costs["tokens"],
        tokens_of_a_sample={f"p{p}": _percentile(every, p) for p in PERCENTILES},
        packs=packs,
        fillers=sum(one.fillers for one in partitions),
        fill=costs["tokens"] / max(packs * recipe.pack.max_tokens, 1),
        pixels_kept=float(np.minimum(source, resized).sum() / max(source.sum(), 1)),
        upscaled=float((resized > source).mean()) if len(source) else 0.0,
        **_work(shapes, costs),
    )


def _areas(surveyed: Sequence[pa.Table], sized: pa.Table, alive: Ints) -> Ints:
    """[pictures, 2] pixels of each picture of these rows, and of what it is resized to."""
    lists = pa.concat_arrays([one_chunk(table.column("items")) for table in surveyed])
    shown = lists.take(pa.array(alive))
    planned = one_chunk(sized.column("items")).take(pa.array(alive))
    items, geometry = shown.flatten(), planned.flatten()
    width, height = (
        pc.struct_field(items, side).to_numpy().astype(np.int64) for side in ("width", "height")
    )
    resized = pc.struct_field(geometry, "resized_wh").flatten().to_numpy().astype(np.int64)
    picture = pc.not_equal(pc.struct_field(items, "kind"), "video").to_numpy(zero_copy_only=False)
    pairs: Ints = np.stack([width * height, resized.reshape(-1, 2).prod(axis=1)], axis=1)
    kept: Ints = pairs[picture]
    return kept


def _percentile(values: Ints, percent: int) -> int:
    """A value that there is; 0 of none."""
    return int(np.percentile(values, percent, method="inverted_cdf")) if len(values) else 0


def _work(model: Profile, costs: Counter[str]) -> dict[str, Any]:
    """Forward passes: L (24 h² t + 4 h Σ len²) each (workers/packing/profile.py)."""

    def petaflop(layers: int, hidden: int, tokens: int, attention: int) -> float:
        return layers * (24 * hidden**2 * tokens + 4 * hidden * attention) / 1e15

    language, vision = model.language, model.vision
    return {
        "llm_petaflop": petaflop(
            language.layers, language.hidden_size, costs["tokens"], costs["attention"]
        ),
        "vit_petaflop": petaflop(
            vision.layers, vision.hidden_size, costs["patches"], costs["vit_attention"]
        )
        if vision
        else None,
    }


def rows_of(plans: Sequence[PolicyPlan]) -> list[list[str]]:
    """As people read them: a line of names, then one for each policy."""
    percentiles = [f"p{p}" for p in PERCENTILES]
    names = ["policy", *percentiles, "tokens", "packs", "fill", "over-long", "pixels kept"]
    rows = [[*names, "enlarged", "LLM PFLOP", "ViT PFLOP"]]
    rows += [
        [
            one.policy,
            *(f"{one.tokens_of_a_sample[name]:,}" for name in percentiles),
            f"{one.tokens:,}",
            f"{one.packs:,}",
            f"{one.fill:.2%}",
            f"{one.over_long:.2%}",
            f"{one.pixels_kept:.1%}",
            f"{one.upscaled:.1%}",
            f"{one.llm_petaflop:,.2f}",
            "" if one.vit_petaflop is None else f"{one.vit_petaflop:,.2f}",
        ]
        for one in plans
    ]
    return rows
