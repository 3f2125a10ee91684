"""How a partition was packed and how good that is, from its tables."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipelines.plan import Partition
from pipelines.recipe import Recipe
from schemas.columns import Ints, one_chunk
from schemas.manifest import Balance, Packing
from workers.packing.measured import Held, balance
from workers.packing.sources import sources_of

COSTS = (
    "tokens",
    "patches",
    "attention",
    "vit_attention",
    "bytes",
    "images",
    "videos",
    "loss_tokens",
)


def pack_costs(packed: pa.Table, sized: pa.Table, places: int) -> dict[str, Ints]:
    """Sum of each cost over the samples of each pack, [places] in written order,
    fillers included.
    """
    number = packed.column("pack").to_numpy()
    row = packed.column("sized_row").to_numpy()
    costs = {}
    for name in COSTS:
        costs[name] = np.zeros(places, np.int64)
        np.add.at(costs[name], number, sized.column(name).to_numpy()[row])
    return costs


def packing_of(recipe: Recipe, partition: Partition) -> Packing:
    """How the partition was packed."""
    return Packing(
        bounds=recipe.pack.limits.capacities,
        segment_multiple=recipe.pack.segment_multiple,
        bundle=recipe.pack.bundle,
        time=recipe.pack.time.as_json(),
        slices=partition.packed.facts["slices"],
    )


def balance_of(
    recipe: Recipe, packing: Packing, packed: pa.Table, sized: pa.Table, costs: dict[str, Ints]
) -> Balance:
    """How full and how even its packs are; `costs` is what `pack_costs` gives."""
    rows = packed.column("sized_row").to_numpy()
    held = Held(
        costs={**costs, "images": costs["images"] + costs["videos"]},
        pack=packed.column("pack").to_numpy().astype(np.int64),
        tokens=sized.column("tokens").to_numpy()[rows],
        source=sources_of(one_chunk(sized.column("sample_id")))[rows],
    )
    return balance(held, packing, recipe.pack.lanes)
