"""What a packing of a workload is worth: fill, evenness, mixture of its steps."""

from __future__ import annotations

import numpy as np

from benchmarks.packing_plan import Settings
from benchmarks.packing_workload import Columns
from schemas.columns import Ints
from workers.packing.bounds import fewest_packs, least_variation
from workers.packing.quality import mixture, slowest_over_mean, variation

WORLDS = ("8", "64", "512")


def figures(columns: Columns, number: Ints, settings: Settings) -> dict[str, object]:
    """What a packing is worth; `number` has the packs in written order without a gap."""
    packs = int(number.max()) + 1
    bounds = [fewest_packs(columns.tokens, settings.capacity)]
    if settings.patch_capacity:
        bounds.append(fewest_packs(columns.patches, settings.patch_capacity))
    attention = sums(number, columns.attention, packs)
    entropy, single = mixture(number, columns.source, columns.tokens, packs)
    figure: dict[str, object] = {
        "packs": packs,
        "over": packs - max(bounds),
        "over_percent": round(100 * (packs / max(bounds) - 1), 4),
        "empty_percent": round(100 - 100 * columns.tokens.sum() / packs / settings.capacity, 4),
        "attention_over_bound": round(
            variation(attention) / least_variation(columns.attention, packs), 4
        ),
        "single_source_percent": round(100 * single, 3),
        "entropy": round(entropy, 3),
    }
    time_of = 24576 * sums(number, columns.tokens, packs) + attention
    shuffled = np.random.Generator(np.random.Philox(1)).permutation(time_of)
    figure["waits_written"] = waits(time_of)
    figure["waits_shuffled"] = waits(shuffled)
    figure["step_mix"] = _step_mix(columns, number, packs)
    return figure


def waits(time_of: Ints) -> dict[str, float]:
    """For each number of ranks how much longer the slowest takes than the mean, in percent."""
    ratios = slowest_over_mean(time_of[: len(time_of) // 512 * 512], 512)
    return {ranks: round(100 * (ratio - 1), 4) for ranks, ratio in ratios.items()}


def sums(number: Ints, values: Ints, packs: int) -> Ints:
    """Of the values of each pack."""
    sums = np.zeros(packs, np.int64)
    np.add.at(sums, number, values)
    return sums


def _step_mix(columns: Columns, number: Ints, packs: int) -> dict[str, float]:
    """Mean distance of a step's tokens by source from the whole, for each number of ranks."""
    sources = int(columns.source.max()) + 1
    table = np.bincount(
        number * sources + columns.source, weights=columns.tokens, minlength=packs * sources
    ).reshape(packs, sources)
    whole = table.sum(axis=0) / table.sum()
    found = {}
    for ranks in WORLDS:
        steps = table[: packs // int(ranks) * int(ranks)].reshape(-1, int(ranks), sources).sum(1)
        share = steps / steps.sum(axis=1, keepdims=True)
        found[ranks] = round(float(0.5 * np.abs(share - whole).sum(axis=1).mean()), 4)
    return found
