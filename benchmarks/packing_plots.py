"""The three plots of docs/packing.md, from a million samples packed anew.

python -m benchmarks.packing_plots [--out docs]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot

from benchmarks.packers import best_fit_decreasing, buffer, knapsack
from benchmarks.packing_figures import figures, waits
from benchmarks.packing_plan import MILLION, Settings, plan
from benchmarks.packing_workload import Columns, workload
from schemas.columns import Ints

CAPACITY = 16384
INK = "#3c4048"
COLOURS = {
    "patchpack": "#4285be",
    "patchpack, isocost pairs": "#56a880",
    "best fit decreasing (TRL)": "#e07a3c",
    "knapsack of 10,000 (Megatron)": "#8464b0",
    "buffer of 20 (InternVL)": "#969eaa",
}


def times(columns: Columns, number: Ints) -> Ints:
    """Modelled time of each pack, 24576 t + t^2 a sample."""
    found = np.zeros(int(number.max()) + 1, np.int64)
    np.add.at(found, number, 24576 * columns.tokens.astype(np.int64) + columns.attention)
    return found


def new_plot(width: float = 7.2, height: float = 3.4) -> tuple[mpl.figure.Figure, mpl.axes.Axes]:
    """An empty plot in the style of all three."""
    figure, axes = pyplot.subplots(figsize=(width, height), dpi=144)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    return figure, axes


def draw_balance(of_packs: dict[str, Ints], out: Path) -> None:
    """How long ranks wait for the slowest, by their number: written order and shuffled."""
    figure, axes = new_plot()
    chance = np.random.Generator(np.random.Philox(1))
    for name, found in of_packs.items():
        shuffled = waits(chance.permutation(found))
        ranks = [int(one) for one in shuffled]
        axes.plot(
            ranks, list(shuffled.values()), "--", color=COLOURS[name], label=f"{name}, shuffled"
        )
        if name == "patchpack":
            written = list(waits(found).values())
            axes.plot(
                ranks, written, "-", color=COLOURS[name], linewidth=2.2, label=f"{name}, as written"
            )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(ranks, [str(one) for one in ranks])
    axes.set_xlabel("data-parallel ranks")
    axes.set_ylabel("slowest over mean, %")
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, out / "packing-balance.png")


def draw_times(of_packs: dict[str, Ints], out: Path) -> None:
    """How the time of a step is spread."""
    figure, axes = new_plot()
    for name in ("best fit decreasing (TRL)", "patchpack", "patchpack, isocost pairs"):
        share = of_packs[name] / of_packs[name].mean()
        axes.hist(
            share,
            bins=120,
            range=(0.5, 1.7),
            histtype="step",
            color=COLOURS[name],
            linewidth=1.6,
            label=name,
            density=True,
        )
    axes.set_yscale("log")
    axes.set_xlabel("modelled time of a pack or pair / mean")
    axes.set_ylabel("density")
    axes.legend(fontsize=7, frameon=False)
    save(figure, out / "packing-time.png")


def draw_fill(worth: dict[str, tuple[float, float]], out: Path) -> None:
    """What is empty, and how uneven attention is against the bound."""
    figure, axes = new_plot()
    for name, (empty, uneven) in worth.items():
        axes.scatter(empty, uneven, s=60, color=COLOURS[name], label=name)
    axes.axhline(1, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlabel("tokens of packs that are empty, %")
    axes.set_ylabel("attention variation / bound")
    axes.legend(fontsize=7, frameon=False)
    save(figure, out / "packing-fill.png")


def save(figure: mpl.figure.Figure, path: Path) -> None:
    """Equal pixels and no date: equal bytes."""
    figure.savefig(path, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)


def main() -> None:
    """Pack and draw."""
    parser = argparse.ArgumentParser(description="The plots of docs/packing.md.")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder (docs)")
    out: Path = parser.parse_args().out
    columns, settings = workload(MILLION, CAPACITY), Settings(CAPACITY)
    tokens = columns.tokens.astype(np.int64)
    numbers = {
        "patchpack": plan(columns, settings).pack,
        "best fit decreasing (TRL)": best_fit_decreasing(tokens, CAPACITY),
        "knapsack of 10,000 (Megatron)": knapsack(tokens, CAPACITY),
        "buffer of 20 (InternVL)": buffer(tokens, np.minimum(columns.patches, 1), CAPACITY),
    }
    pairs = plan(columns, Settings(CAPACITY, bundle=2)).bundle
    of_packs = {name: times(columns, number) for name, number in numbers.items()}
    of_packs["patchpack, isocost pairs"] = times(columns, pairs)
    draw_balance(of_packs, out)
    draw_times(of_packs, out)
    worth = {}
    for name, number in numbers.items():
        figure = figures(columns, number, settings)
        empty, uneven = figure["empty_percent"], figure["attention_over_bound"]
        assert isinstance(empty, float)
        assert isinstance(uneven, float)
        worth[name] = (empty, uneven)
    draw_fill(worth, out)


if __name__ == "__main__":
    main()
