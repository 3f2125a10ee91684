"""The views of MoonViT, on black or cut to whole blocks, and the tokens around them."""

import numpy as np

from schemas.sized import Ints, Layout, Ragged
from schemas.texts import token
from workers.policies.drawing import Canvas, drawn
from workers.policies.layouts import equal_runs, texts_by
from workers.policies.stills import Views, one_grid

_AROUND = (f"{token('<|media_begin|>')}image{token('<|media_content|>')}", token("<|media_end|>"))


def kimi_views(resized: Ints, patch: int, merge: int, pad: bool = True) -> Views:
    """One view of pictures of this size: padded right and below, or cut out of the middle."""
    unit = patch * merge
    final = -(-resized // unit) * unit if pad else np.maximum(resized // unit, 1) * unit
    spare = (resized - final) // 2
    cut = (final != resized).any(axis=1) & (not pad)
    black = Canvas(wh=final if pad else resized, xy=np.zeros_like(final), rgb=(0, 0, 0))
    crops = Ragged.where(cut, np.concatenate([spare, spare + final], axis=1))
    tokens = (final // unit).prod(axis=1)
    return Views(
        drawn=drawn(resized, canvas=black, crops=crops),
        grid_thw=one_grid(final, patch),
        merge=merge,
        layout=_layout(tokens),
    )


def _layout(tokens: Ints) -> Layout:
    runs = np.ones_like(tokens)
    return equal_runs(runs, tokens, texts_by(runs, {1: _AROUND}))
