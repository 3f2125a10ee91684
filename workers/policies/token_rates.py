"""How many patches of a picture stay where a share of them is dropped; which: see token_drop.py.

Three published roundings of the same product: vit-pytorch's grouping may plan 0 tokens, its model
keeps at least 1, and its nested-tensor model multiplies in float32 (20 patches of which 0.9 are
dropped: 1 stays, or 2).
Sources: lucidrains/vit-pytorch vit_pytorch/na_vit.py and na_vit_nested_tensor.py; the shares that
depend on the picture: Dehghani et al., Patch n' Pack, arXiv 2307.06304.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from patchpack.token_drop import kept_of_all
from schemas.sized import Floats, Ints, Ragged
from workers.policies.draws import Keys, beta

TokenDrop = Literal["constant", "resolution", "beta"]

_FIRST_DRAW = 16
"""Number of the first draw for a share; those before it are for the resolution."""


@dataclass(frozen=True)
class DropRule:
    """`limit` is the share, or what it stays under."""

    how: TokenDrop
    limit: float
    free_patches: int
    beta: tuple[int, int]


def drop_shares(rule: DropRule, patches: Ints, key: Keys, seed: int) -> Floats:
    """[n] the share of each picture's patches that is dropped.

    `resolution` drops the limit of the patches beyond `free_patches`, so a larger picture loses a
    larger share and still keeps more; `beta` draws the share, with the limit as its largest.
    """
    if rule.how == "beta":
        return rule.limit * beta(key, seed, rule.beta, _FIRST_DRAW)
    if rule.how == "resolution":
        beyond = 1 - rule.free_patches / np.maximum(patches, rule.free_patches)
        return np.asarray(rule.limit * beyond, np.float64)
    return np.full(len(patches), rule.limit)


def planned_lengths(patches: Ints, share: Floats) -> Ints:
    """[n] tokens that the grouping of a batch charges: int(n * (1 - share)), which may be 0."""
    return np.asarray(patches * (1 - share), np.int64)


def kept_lengths(patches: Ints, share: Floats, float32: bool = False) -> Ints:
    """[n] tokens that the model keeps: at least one.

    In float32, as torch multiplies a tensor of counts, unless nothing is dropped.
    """
    if not float32:
        return np.maximum(planned_lengths(patches, share), 1)
    product = (1 - share).astype(np.float32) * patches.astype(np.float32)
    kept = np.where(share > 0, product.astype(np.int64), patches)
    return np.clip(kept, 1, np.maximum(patches, 1))


def baked(key: Keys, patches: Ints, kept: Ints, seed: int) -> Ragged:
    """The patches of the first epoch that stay of each medium; none where `kept` is 0."""
    return Ragged.from_counts(kept_of_all(key, patches * (kept > 0), kept, seed), kept)
