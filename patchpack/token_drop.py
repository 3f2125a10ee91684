"""Which patches of a picture stay where a policy drops the others (NaViT, arXiv 2307.06304).

A pack fixes how many stay, so that it never overflows; which ones is a pure function of medium,
seed and epoch. Baked into the pack they are those of epoch 0; a trainer that draws them anew calls
`kept_patches` with its own epoch, `grid_thw`'s product and the item's patch count.
1. Each patch gets a uniform number from (key, seed, epoch, patch number).
2. The patches with the smallest numbers stay, in ascending order of their place in the picture.
"""

import numpy as np
import numpy.typing as npt

from patchpack.draws import Ints, Keys, key_of, reseeded, uniform

_PATCHES, _MEDIA = 1 << 18, 1 << 11
"""How much is ranked at once: what a cache holds; the media whose numbers fit beside 53 bits."""
_BITS = np.uint64(53)


def kept_patches(sha256: str | int, patches: int, kept: int, seed: int, epoch: int = 0) -> Ints:
    """[kept] numbers of the patches that stay of a medium, row-major over its grid, ascending.

    `sha256` is the medium's digest as hex, or the 64 bits that `key_of` makes of it.
    """
    if not 0 <= kept <= patches:
        raise ValueError(f"{kept} patches cannot stay of {patches}")
    key = key_of(sha256) if isinstance(sha256, str) else sha256
    keys = np.array([key], np.uint64)
    return kept_of_all(keys, np.array([patches]), np.array([kept]), seed, epoch)


def kept_of_all(keys: Keys, patches: Ints, kept: Ints, seed: int, epoch: int = 0) -> Ints:
    """The lists of n media one after another."""
    first = np.cumsum(patches) - patches
    blocks = first // _PATCHES + np.arange(len(first)) // _MEDIA
    starts = np.unique(blocks, return_index=True)[1][1:]
    stream = reseeded(seed, epoch)
    found = []
    for rows in np.split(np.arange(len(keys)), starts):
        number = _counted(patches[rows])
        drawn = uniform(np.repeat(keys[rows], patches[rows]), stream, number)
        stays = _smallest((drawn * 2.0**53).astype(np.uint64), patches[rows], kept[rows])
        found.append(number[stays])
    return np.concatenate(found)


def _smallest(drawn: Keys, patches: Ints, kept: Ints) -> npt.NDArray[np.bool_]:
    """Which patches of each medium have its `kept` smallest numbers; of equal ones the first."""
    some = np.flatnonzero(kept)
    media = np.repeat(np.arange(len(patches)).astype(np.uint64), patches)
    ranked = np.sort((media << _BITS) | drawn)
    bound = np.zeros(len(patches), np.uint64)
    ends = np.cumsum(patches) - patches + kept - 1
    bound[some] = ranked[ends[some]] & ((np.uint64(1) << _BITS) - np.uint64(1))
    bound = np.repeat(bound, patches)
    less = drawn < bound
    missing = kept - _sums(less, patches)
    equal = drawn == bound
    earlier = np.cumsum(equal) - equal
    first = np.repeat(np.cumsum(_sums(equal, patches)) - _sums(equal, patches), patches)
    return np.asarray(less | (equal & (earlier - first < np.repeat(missing, patches))), np.bool_)


def _sums(of: npt.NDArray[np.bool_], counts: Ints) -> Ints:
    total = np.concatenate([[0], np.cumsum(of)])
    ends = np.cumsum(counts)
    return np.asarray(total[ends] - total[ends - counts], np.int64)


def _counted(counts: Ints) -> Ints:
    """0, 1, 2, ... anew for each count."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
