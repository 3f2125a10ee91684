"""How evenly data-parallel ranks are loaded: the slowest rank of each step against the mean, in
modelled time.

Time of a sample of t tokens is 24576 t + t^2 (the attention of a 7B model, volcengine/verl
`seqlen_balancing.py`); with W ranks, step s holds the packs s W .. s W + W - 1 of the written
order.
"""

from __future__ import annotations

from schemas.columns import Ints

TOKEN_TIME = 24576


def slowest_over_mean(tokens: Ints, attention: Ints, lanes: int) -> dict[str, float]:
    """Mean over steps of (slowest rank / mean rank) for each number of ranks W = 2, 4 .. lanes.

    `tokens` and `attention` hold one number a pack in written order, fillers included; rounded
    to 6 digits.
    """
    time = TOKEN_TIME * tokens + attention
    figures = {}
    ranks = 2
    while ranks <= lanes:
        steps = time.reshape(-1, ranks)
        mean = steps.mean(axis=1)
        busy = mean > 0
        figures[str(ranks)] = (
            round(float((steps.max(axis=1)[busy] / mean[busy]).mean()), 6) if busy.any() else 1.0
        )
        ranks *= 2
    return figures
