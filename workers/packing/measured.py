"""The figures of a partition that its manifest records, from what its packs hold: a build knows it
from its tables, `verify` from the shards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from schemas.columns import Ints
from schemas.manifest import Balance, Packing
from workers.packing.bounds import fewest_packs, least_variation
from workers.packing.profile import COSTS, Coefficients
from workers.packing.quality import mixture, slowest_over_mean, variation


@dataclass(frozen=True)
class Held:
    """What packs hold.

    costs       [packs] each, in written order with fillers: those of COSTS, `images`, and
                `loss_tokens`
    pack        [n] place in that order of each instance
    tokens      [n] as they count in the pack
    source      [n] number of its source in the order of their names
    """

    costs: Mapping[str, Ints]
    pack: Ints
    tokens: Ints
    source: Ints


def balance(held: Held, packing: Packing, lanes: int) -> Balance:
    """How full and how even the packs are; every float rounded to 6 digits."""
    filled = held.costs["tokens"] > 0
    packs = int(np.count_nonzero(filled))
    bounds = {name: bound for name, bound in packing.bounds.items() if name in held.costs}
    sums = {name: int(held.costs[name].sum()) for name in bounds}
    fewest = [-(-sums[name] // bound) for name, bound in bounds.items()]
    fewest.append(fewest_packs(held.tokens, bounds["tokens"]))
    attention = held.costs["attention"][filled]
    number = (np.cumsum(filled) - 1)[held.pack]  # fillers may lie between
    entropy, single = mixture(number, held.source, held.tokens, packs) if packs else (1.0, 0.0)
    learned = _steps(held.costs["loss_tokens"], packing.bundle, lanes)
    time = Coefficients(**packing.time).time(*(held.costs[name] for name in COSTS))
    return Balance(
        fill={n: round(sums[n] / max(packs * bounds[n], 1), 6) for n in bounds},
        lower_bound=max(fewest),
        attention_variation=round(variation(attention), 6),
        least_attention_variation=round(least_variation(held.tokens**2, packs), 6),
        mixture_entropy=round(entropy, 6),
        single_source=round(single, 6),
        slowest_over_mean=slowest_over_mean(_steps(time, packing.bundle, lanes), lanes),
        loss_tokens_of_a_row=_range(learned, lanes),
    )


def _steps(values: Ints, bundle: int, lanes: int) -> Ints:
    """Sums over the packs of a bundle, which one rank reads in one step, in written order."""
    sums: Ints = values.reshape(-1, bundle, lanes).sum(axis=1).ravel()
    return sums


def _range(values: Ints, lanes: int) -> list[int]:
    rows = values.reshape(-1, lanes).sum(axis=1)
    return [int(rows.min()), int(rows.max())] if len(rows) else [0, 0]
