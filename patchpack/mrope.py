"""M-RoPE: the three position ids of every token under the Qwen2-VL family.

A cursor walks through a sample. A text token has (c, c, c) and moves it by one; so do the tokens
before and after an image. The features of an image or of the frames of a video, t x H x W tokens
row by row, have (c + tau, c + row, c + column); then the cursor moves to where they end:

- `max_thw`: by the largest of t (the last tau + 1), H and W: Qwen's own code, transformers <= 5.2.
- `max_hw`: by the largest of H and W: transformers >= 5.3, also where a video is longer than wide.

tau counts temporal patches in Qwen2-VL, and `tokens_per_second` of time in Qwen2.5-VL, computed in
float32 from left to right. Qwen3-VL writes a time before each temporal patch, which is a block of
its own with t = 1.
Sources: huggingface/transformers modeling_qwen2_vl.py, modeling_qwen2_5_vl.py, modeling_qwen3_vl.py
(`get_rope_index`); Qwen2-VL, arXiv 2409.12191, section 2.1.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Resume = Literal["max_thw", "max_hw"]


@dataclass(frozen=True)
class Blocks:
    """Runs of features of a pack, in order: b blocks.

    start     int [b]  the first feature token
    grid      int [b, 3]  t, H, W in tokens: H and W are those of `grid_thw` / merge; a block has
              t * H * W tokens
    seconds   float [b]  seconds of a temporal patch; 0 for pictures, and where time does not count
    """

    start: Ints
    grid: Ints
    seconds: Floats


def mrope_ids(
    cu_seqlens: Ints, blocks: Blocks, resume: Resume, tokens_per_second: float = 0.0
) -> Ints:
    """[3, L] the ids for time, row and column; they begin at 0 in each sample.

    `tokens_per_second` is 0 for models that count temporal patches (Qwen2-VL), 2 in the released
    checkpoints of Qwen2.5-VL. Raises ValueError for blocks that overlap or leave their sample.
    """
    length = int(cu_seqlens[-1])
    tokens = blocks.grid.prod(axis=1)
    _check(cu_seqlens, blocks.start, blocks.start + tokens)
    taken = _tau(blocks.grid[:, 0] - 1, blocks.seconds, tokens_per_second, resume) + 1
    sides = blocks.grid[:, 1:].max(axis=1)
    # how much further the cursor is after a block than its tokens
    ahead = (np.maximum(taken, sides) if resume == "max_thw" else sides) - tokens
    steps = np.zeros(length + 1, np.int64)
    np.add.at(steps, blocks.start + tokens, ahead)
    cursor = np.arange(length) + np.cumsum(steps)[:length]
    sample = np.repeat(cu_seqlens[:-1], np.diff(cu_seqlens))
    ids = np.tile(cursor - cursor[sample], (3, 1)) if length else np.zeros((3, 0), np.int64)
    owner = np.repeat(np.arange(len(tokens)), tokens)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(tokens) - tokens, tokens)
    rows, columns = blocks.grid[owner, 1], blocks.grid[owner, 2]
    at = blocks.start[owner] + place
    first = ids[0, blocks.start][owner] if len(owner) else owner
    frame = place // (rows * columns)
    ids[0, at] = first + _tau(frame, blocks.seconds[owner], tokens_per_second, resume)
    ids[1, at] = first + place // columns % rows
    ids[2, at] = first + place % columns
    return ids


def _tau(frame: Ints, seconds: Floats, tokens_per_second: float, resume: Resume) -> Ints:
    """The time of these temporal patches."""
    if not tokens_per_second:
        return frame
    rate, each = np.float32(tokens_per_second), seconds.astype(np.float32)
    if resume == "max_hw":  # transformers >= 5.3 multiplies the constants first
        return (frame.astype(np.float32) * (rate * each)).astype(np.int64)
    return (frame.astype(np.float32) * each * rate).astype(np.int64)


def _check(cu_seqlens: Ints, start: Ints, end: Ints) -> None:
    sample = np.searchsorted(cu_seqlens, start, side="right")
    inside = (start >= 0) & (sample < len(cu_seqlens))
    if not inside.all() or (end > cu_seqlens[np.minimum(sample, len(cu_seqlens) - 1)]).any():
        raise ValueError("a block of features leaves its sample")
    if (start[1:] < end[:-1]).any():
        raise ValueError("blocks of features overlap, or are not in order")
