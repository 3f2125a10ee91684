"""Seconds of every resolution policy for a million pictures, and two beside a loop of scalar rules.

    python -m benchmarks.policies [--count 1000000] [--save]

Sides are uniform from 32 to 4096 pixels; CPU seconds of one process on one core, from widths and
heights to all columns of the answer. No picture exists. The loops state the published scalar rules
of Qwen2-VL (`smart_resize`) and InternVL (`dynamic_preprocess`, which lists its candidates anew for
every picture) in plain Python, as a script does that calls the reference once a picture. They take
a sample, whose answers must be the policy's, and are compared by the picture. Both sides keep
resized size, patches and tokens of every picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from benchmarks.kit.report import Target, arguments, report
from benchmarks.kit.timing import cpu_seconds, in_turn, medians, one_core
from pipelines.policies import policy_kinds
from schemas.sized import Ints, images
from workers.policies.blocks import blocks
from workers.policies.internvl import InternVL
from workers.policies.protocol import Policy
from workers.policies.qwen2_vl import Qwen2VL

MOST_SECONDS = 5.0
LEAST_RATIO = 20.0


class Answer(NamedTuple):
    """What a script wants to know of one picture."""

    resized: tuple[int, int]  # width, height
    patches: int
    tokens: int


class Columns(NamedTuple):
    """The same of many."""

    resized_wh: Ints
    patches: Ints
    tokens: Ints


Rule = Callable[[int, int], Answer]


def round_by_factor(number: float, factor: int) -> int:
    """The nearest multiple."""
    return round(number / factor) * factor


def ceil_by_factor(number: float, factor: int) -> int:
    """The next multiple."""
    return math.ceil(number / factor) * factor


def floor_by_factor(number: float, factor: int) -> int:
    """The last multiple."""
    return math.floor(number / factor) * factor


def smart_resize(height: int, width: int, factor: int, low: int, high: int) -> tuple[int, int]:
    """Qwen2-VL: height and width in multiples of the factor, of an area within bounds."""
    if max(height, width) / min(height, width) > 200:
        raise ValueError(f"{width} x {height}: too narrow")
    down = max(factor, round_by_factor(height, factor))
    across = max(factor, round_by_factor(width, factor))
    if down * across > high:
        beta = math.sqrt((height * width) / high)
        down = floor_by_factor(height / beta, factor)
        across = floor_by_factor(width / beta, factor)
    elif down * across < low:
        beta = math.sqrt(low / (height * width))
        down = ceil_by_factor(height * beta, factor)
        across = ceil_by_factor(width * beta, factor)
    return down, across


def qwen2_vl(width: int, height: int) -> Answer:
    """A picture of Qwen2-VL with the bounds of qwen-vl-utils."""
    down, across = smart_resize(height, width, 28, 4 * 28 * 28, 16384 * 28 * 28)
    patches = (down // 14) * (across // 14)
    return Answer((across, down), patches, patches // 4 + 2)


def closest_ratio(
    aspect: float, grids: Sequence[tuple[int, int]], width: int, height: int
) -> tuple[int, int]:
    """InternVL: the grid of 448-pixel tiles nearest in aspect ratio."""
    least, best = math.inf, (1, 1)
    for columns, rows in grids:
        distance = abs(aspect - columns / rows)
        if distance < least:
            least, best = distance, (columns, rows)
        elif distance == least and width * height > 0.5 * 448 * 448 * columns * rows:
            best = columns, rows
    return best


def internvl(width: int, height: int) -> Answer:
    """A picture of InternVL with at most 12 tiles."""
    grids = {
        (columns, rows)
        for n in range(1, 13)
        for columns in range(1, n + 1)
        for rows in range(1, n + 1)
        if 1 <= columns * rows <= 12
    }
    by_area = sorted(grids, key=lambda grid: grid[0] * grid[1])
    columns, rows = closest_ratio(width / height, by_area, width, height)
    views = columns * rows + (columns * rows > 1)
    return Answer((columns * 448, rows * 448), views * 1024, views * 256 + 2)


LOOPS: dict[str, tuple[Policy, Rule]] = {
    "qwen2_vl": (Qwen2VL(), qwen2_vl),
    "internvl": (InternVL(), internvl),
}


def loop(rule: Rule, pairs: Sequence[tuple[int, int]]) -> list[Answer]:
    """One picture after another."""
    return [rule(width, height) for width, height in pairs]


def sized(policy: Policy, width: Ints, height: Ints) -> list[Columns]:
    """All of them by the policy, in blocks as a build sizes them."""
    found = []
    for part in blocks(len(width)):
        one = policy.size(images(width[part], height[part]))
        found.append(Columns(one.drawn.resized_wh, one.vit_patches, one.llm_tokens))
    return found


def answers(policy: Policy, width: Ints, height: Ints) -> list[Answer]:
    """The policy's, as the loop gives them."""
    return [
        Answer((across, down), patches, tokens)
        for one in sized(policy, width, height)
        for (across, down), patches, tokens in zip(*(each.tolist() for each in one), strict=True)
    ]


def main() -> None:
    """Measure and report."""
    parser = arguments("Seconds of every resolution policy for many pictures.")
    parser.add_argument("--count", type=int, default=1_000_000, help="pictures")
    parser.add_argument("--sample", type=int, default=50_000, help="pictures of the scalar loops")
    options = parser.parse_args()
    width, height = np.random.default_rng(0).integers(32, 4096, (2, options.count))
    few = slice(options.sample)
    pairs = list(zip(width[few].tolist(), height[few].tolist(), strict=True))
    sides = {
        kind: partial(cpu_seconds, partial(sized, model(kind=kind), width, height))
        for kind, model in policy_kinds().items()
    }
    for kind, (policy, rule) in LOOPS.items():
        if answers(policy, width[few], height[few]) != loop(rule, pairs):
            raise SystemExit(f"the loop and the policy {kind} answer differently")
        sides[f"loop_{kind}"] = partial(cpu_seconds, partial(loop, rule, pairs))
    with one_core():
        seconds = medians(in_turn(options.rounds, sides))
    scale = options.count / len(pairs)
    loops = {kind: seconds.pop(f"loop_{kind}") * scale for kind in LOOPS}
    ratios = {kind: loops[kind] / seconds[kind] for kind in LOOPS}
    slowest = max(seconds, key=lambda kind: seconds[kind])
    targets = [
        Target(
            f"slowest policy ({slowest}), seconds", seconds[slowest], MOST_SECONDS, at_most=True
        ),
        *(Target(f"{kind}, loop / ours", ratio, LEAST_RATIO) for kind, ratio in ratios.items()),
    ]
    figures = {
        "pictures": options.count,
        "seconds": seconds,
        "loop_seconds": loops,
        "times_a_loop": ratios,
    }
    report("policies", figures, targets, save=options.save)


if __name__ == "__main__":
    main()
