"""Seconds of every resolution policy for a million pictures, and two beside a loop of scalar rules.

    python -m benchmarks.policies [--count 1000000] [--save]

Sides are uniform from 32 to 4096 pixels, one process on one core, headers alone: no
picture exists. The loops state the published scalar rules of Qwen2-VL (`smart_resize`) and InternVL
(`dynamic_preprocess`'s choice of a grid) in plain Python, as a script that calls the reference
once a picture does; they take a sample and are compared by the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.kit.report import Target, arguments, report
from benchmarks.kit.timing import in_turn, medians, one_core, timed
from pipelines.policies import policy_kinds
from schemas.sized import Media, images
from workers.policies.internvl import InternVL
from workers.policies.qwen2_vl import Qwen2VL

MOST_SECONDS = 3.0
LEAST_RATIO = 20.0

Size = tuple[int, int]


def sizes(count: int, seed: int = 0) -> Media:
    """Pictures of random sizes."""
    sides = np.random.default_rng(seed).integers(32, 4096, (2, count))
    return images(sides[0], sides[1])


def qwen_tokens(width: int, height: int) -> int:
    """The rule of qwen-vl-utils for one picture, with its default bounds."""
    least, most, factor = 4 * 784, 16384 * 784, 28
    if max(width, height) / min(width, height) > 200:
        return 0
    across = max(factor, round(width / factor) * factor)
    down = max(factor, round(height / factor) * factor)
    if across * down > most:
        beta = math.sqrt(width * height / most)
        across = math.floor(width / beta / factor) * factor
        down = math.floor(height / beta / factor) * factor
    elif across * down < least:
        beta = math.sqrt(least / (width * height))
        across = math.ceil(width * beta / factor) * factor
        down = math.ceil(height * beta / factor) * factor
    return across * down // factor**2 + 2


def internvl_tokens(width: int, height: int) -> int:
    """The rule of InternVL for one picture, with at most 12 tiles; the reference, too, lists the
    candidates anew for every picture.
    """
    grids = {
        (columns, rows)
        for n in range(1, 13)
        for columns in range(1, n + 1)
        for rows in range(1, n + 1)
        if 1 <= columns * rows <= 12
    }
    best, least, aspect = (1, 1), math.inf, width / height
    for columns, rows in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        distance = abs(aspect - columns / rows)
        if distance < least:
            least, best = distance, (columns, rows)
        elif distance == least and width * height > 0.5 * 448 * 448 * columns * rows:
            best = columns, rows
    tiles = best[0] * best[1]
    return 256 * (tiles + (tiles > 1)) + 2


def loop(rule: Callable[[int, int], int], pictures: list[Size]) -> int:
    """All tokens, one picture after another."""
    return sum(rule(width, height) for width, height in pictures)


def main() -> None:
    """Measure and report."""
    parser = arguments("Seconds of every resolution policy for many pictures.")
    parser.add_argument("--count", type=int, default=1_000_000, help="pictures")
    parser.add_argument("--sample", type=int, default=20_000, help="pictures of the scalar loops")
    options = parser.parse_args()
    media, few = sizes(options.count), sizes(options.sample)
    pairs = list(zip(few.width.tolist(), few.height.tolist(), strict=True))
    for policy, rule in ((Qwen2VL(), qwen_tokens), (InternVL(), internvl_tokens)):
        if int(policy.size(few).llm_tokens.sum()) != loop(rule, pairs):
            raise SystemExit(f"the loop and the policy {policy.kind} answer differently")
    sides = {
        kind: partial(timed, partial(model(kind=kind).size, media))
        for kind, model in policy_kinds().items()
    }
    sides["loop_qwen2_vl"] = partial(timed, partial(loop, qwen_tokens, pairs))
    sides["loop_internvl"] = partial(timed, partial(loop, internvl_tokens, pairs))
    with one_core():
        seconds = medians(in_turn(options.rounds, sides))
    scale = options.count / options.sample
    ratios = {
        kind: seconds.pop(f"loop_{kind}") * scale / seconds[kind]
        for kind in ("qwen2_vl", "internvl")
    }
    slowest = max(seconds, key=lambda kind: seconds[kind])
    targets = [
        Target(
            f"slowest policy ({slowest}), seconds", seconds[slowest], MOST_SECONDS, at_most=True
        ),
        *(Target(f"{kind}, loop / ours", ratio, LEAST_RATIO) for kind, ratio in ratios.items()),
    ]
    figures = {"pictures": options.count, "seconds": seconds, "times_a_loop": ratios}
    report("policies", figures, targets, save=options.save)


if __name__ == "__main__":
    main()
