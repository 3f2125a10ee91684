"""What a vision tower of the Qwen2-VL family needs beside pixels: where each patch is.

Patches come in merge-block order: block by block, row by row, and in a block its merge x merge
patches, which become one token of the language model. Every temporal patch is a segment of its own.
Sources: huggingface/transformers modeling_qwen2_vl.py (`rot_pos_emb`), modeling_qwen2_5_vl.py
(`get_window_index`), modeling_qwen3_vl.py (`fast_pos_embed_interpolate`).
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def merge_block_order(grid_thw: Ints, merge: int = 2) -> Ints:
    """[n, 2] the (row, column) of every patch of these grids, int [g, 3], in merge-block order."""
    found = [np.zeros((0, 2), np.int64)]
    for frames, rows, columns in grid_thw.tolist():
        places = np.indices((rows, columns)).reshape(
            2, rows // merge, merge, columns // merge, merge
        )
        frame = places.transpose(1, 3, 2, 4, 0).reshape(-1, 2)
        found.append(np.tile(frame, (frames, 1)))
    return np.concatenate(found)


def row_major_order(grid_thw: Ints) -> Ints:
    """[n, 2] the same, row by row."""
    return merge_block_order(grid_thw, merge=1)


def vit_cu_seqlens(grid_thw: Ints) -> Ints:
    """[s + 1] ends of the tower's segments, in patches: one segment for each temporal patch."""
    each = np.repeat(grid_thw[:, 1] * grid_thw[:, 2], grid_thw[:, 0])
    return np.concatenate([[0], np.cumsum(each)])


def window_index(grid_thw: Ints, merge: int = 2, window: int = 4) -> tuple[Ints, Ints]:
    """The order of merged units in windows of window x window of them, [u], and the ends of the
    windows in patches. `argsort` of the first takes the tower's output back.

    `window` is 112 pixels / 14 / 2 in Qwen2.5-VL. Windows at the right and lower edge are smaller.
    """
    orders, ends, units = [np.zeros(0, np.int64)], [np.zeros(1, np.int64)], 0
    for frames, rows, columns in (grid_thw // [1, merge, merge]).tolist():
        frame, row, column = np.indices((frames, rows, columns)).reshape(3, -1)
        across = -(-columns // window)
        of = (frame * -(-rows // window) + row // window) * across + column // window
        order = np.argsort(of, kind="stable")
        orders.append(units + order)
        ends.append((units + np.cumsum(np.bincount(of))) * merge**2)
        units += len(order)
    return np.concatenate(orders), np.concatenate(ends)


def interpolation_taps(grid_thw: Ints, merge: int = 2, side: int = 48) -> tuple[Ints, Floats]:
    """Four rows of a learned side x side table for each patch, [n, 4], and their weights, float32
    [n, 4]: bilinear, corners on corners, in merge-block order.

    Exact; Qwen3-VL's code finds places on the table in float32, so its weights are within 4e-6.
    """
    places = merge_block_order(grid_thw, merge) * (side - 1)
    gaps = np.repeat(np.maximum(grid_thw[:, 1:] - 1, 1), grid_thw.prod(axis=1), axis=0)
    low = places // gaps
    high = np.minimum(low + 1, side - 1)
    after = (places - low * gaps) / gaps  # the share of `high`
    taps, weights = [], []
    for rows, of_row in ((low, 1 - after), (high, after)):
        for columns, of_column in ((low, 1 - after), (high, after)):
            taps.append(rows[:, 0] * side + columns[:, 1])
            weights.append(of_row[:, 0] * of_column[:, 1])
    return np.stack(taps, axis=1), np.stack(weights, axis=1).astype(np.float32)
