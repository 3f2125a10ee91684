"""Position ids of a pack, rebuilt from its header and grids: stored they would cost 12 bytes a
token.
"""

from typing import cast, get_args

import numpy as np

from patchpack.container import FormatError
from patchpack.layout import Pack
from patchpack.mrope import Blocks, Ints, Resume, mrope_ids

SECONDS_COUNT = "qwen2_5_vl/"
"""Begins the policy of items whose model measures time in seconds."""


def segment_positions(cu_seqlens: Ints) -> Ints:
    """[L] 0, 1, 2 … anew in each sample; `cu_seqlens` int [n + 1]. The first row that transformers
    takes for a pack, and all that a model with one-dimensional positions takes.
    """
    lengths = np.diff(cu_seqlens)
    positions: Ints = np.arange(int(cu_seqlens[-1])) - np.repeat(cu_seqlens[:-1], lengths)
    return positions


def position_ids(pack: Pack, resume: Resume | None = None, tokens_per_second: float = 2.0) -> Ints:
    """[3, L] for M-RoPE, [1, L] for one-dimensional positions, as the header's `positions` says.

    `resume` takes the place of the variant that the header names. `tokens_per_second` is that of a
    Qwen2.5-VL checkpoint; others do not measure time. Raises FormatError where grids and features
    do not agree, and for packs of pictures alone, which have none (`patch_coordinates`).
    """
    cu_seqlens = np.array(pack.header.cu_seqlens, np.int64)
    scheme, _, variant = pack.header.positions.partition("/")
    if scheme == "1d":
        return segment_positions(cu_seqlens)[None]
    wanted = resume or variant
    if scheme != "mrope" or wanted not in get_args(Resume):
        raise FormatError(f"{pack.header.key}: unknown positions {pack.header.positions!r}")
    rates = {tokens_per_second * name.startswith(SECONDS_COUNT) for name in pack.header.policy}
    if len(rates) > 1:
        raise FormatError(f"{pack.header.key}: some of its models measure time, some do not")
    rate = rates.pop() if rates else 0.0
    return mrope_ids(cu_seqlens, blocks_of(pack), cast(Resume, wanted), rate)


def blocks_of(pack: Pack) -> Blocks:
    """The runs of features of a pack: one for each picture or video, or for each of its temporal
    patches where text stands between them. Raises FormatError where grids do not give them.
    """
    header, arrays = pack.header, pack.arrays
    features = np.concatenate([[False], arrays.token_kind > 0, [False]])
    edges = np.flatnonzero(features[1:] != features[:-1])
    starts, ends = edges[::2], edges[1::2]
    grids: list[list[int]] = []
    seconds: list[float] = []
    for item, (runs, merge) in enumerate(zip(arrays.runs.tolist(), header.merge, strict=True)):
        of_item = arrays.grid_thw[arrays.grid_item == item].astype(np.int64) // [1, merge, merge]
        if not 0 <= runs <= len(starts):  # it says how much is made below
            raise FormatError(f"{header.key}: item {item} states {runs} runs of features")
        if runs != 1 and len(of_item) == 1:
            of_item = np.repeat(of_item * [0, 1, 1] + [1, 0, 0], runs, axis=0)
        grids += of_item.tolist()
        seconds += [header.seconds_per_grid[item]] * len(of_item)
    grid = np.array(grids, np.int64).reshape(-1, 3)
    sound = len(grid) == len(starts) and (grid >= 1).all()
    if not sound or (grid.prod(axis=1) != ends - starts).any():
        raise FormatError(f"{header.key}: its grids do not give its runs of features")
    return Blocks(starts, grid, np.array(seconds, np.float64))
