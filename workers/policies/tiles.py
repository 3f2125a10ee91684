"""Grids of equal square tiles: which grid fits a picture, and where its tiles lie.

Sources: OpenGVLab/InternVL internvl_chat/internvl/train/dataset.py `dynamic_preprocess` and
`find_closest_aspect_ratio`; NVIDIA/Megatron-LM examples/multimodal/image_processing.py
`find_closest_area_weighted_aspect_ratio`. The references take grids of equal area in the order of a
Python set; ascending columns give the same choice wherever the two were compared.
"""

from collections.abc import Callable

import numpy as np

from schemas.sized import Bools, Drawn, Ints, Media, Ragged
from workers.policies.drawing import LAST, Thumbnail, drawn, square


def candidate_grids(least: int, most: int) -> list[tuple[int, int]]:
    """All (columns, rows) of `least` to `most` tiles, by ascending area, then columns."""
    grids = [
        (columns, rows)
        for columns in range(1, most + 1)
        for rows in range(-(-least // columns), most // columns + 1)
    ]
    return sorted(grids, key=lambda grid: (grid[0] * grid[1], grid[0]))


def nearest_grid(size_wh: tuple[Ints, Ints], grids: list[tuple[int, int]], tile: int) -> Ints:
    """[n, 2] the (columns, rows) nearest in aspect ratio; (1, 1) where there is no candidate.

    On an exact tie of doubles a later grid wins where the picture has more than half of its pixels.
    """
    width, height = (side.astype(np.float64) for side in size_wh)
    aspect, area = width / height, width * height
    least = np.full(len(aspect), np.inf)
    choice = np.full(len(aspect), -1)
    for index, (columns, rows) in enumerate(grids):
        distance = np.abs(aspect - columns / rows)
        worthy = area > 0.5 * tile * tile * columns * rows
        choice[(distance < least) | ((distance == least) & worthy)] = index
        np.minimum(least, distance, out=least)
    return np.array([*grids, (1, 1)], np.int64).take(choice, axis=0)


def weighted_grid(size_wh: tuple[Ints, Ints], grids: list[tuple[int, int]], tile: int) -> Ints:
    """[n, 2] the (columns, rows) that covers most of the picture at the nearest aspect ratio.

    The share of the picture's pixels that the grid holds, at most 0.6, times how well the aspect
    ratios agree; the first of equals wins. (1, 1) where there is no candidate.
    """
    width, height = (side.astype(np.float64) for side in size_wh)
    aspect, area = width / height, width * height
    most = np.full(len(aspect), -np.inf)
    choice = np.full(len(aspect), -1)
    for index, (columns, rows) in enumerate(grids):
        held = np.minimum(columns * rows * tile * tile / area, 0.6)
        ratio = columns / rows
        score = held * np.minimum(ratio / aspect, aspect / ratio)
        choice[score > most] = index
        np.maximum(most, score, out=most)
    return np.array([*grids, (1, 1)], np.int64).take(choice, axis=0)


def grids_within(
    media: Media, most: Ints, kept: Bools, choose: Callable[[tuple[Ints, Ints], int], Ints]
) -> Ints:
    """[n, 2] the grid that `choose` gives to the sizes of all media of equal `most`, the most tiles
    that they may take; zeros for the rows that are not kept.
    """
    grids = np.zeros((len(media), 2), np.int64)
    for limit in np.unique(most[kept]).tolist():
        rows = np.flatnonzero((most == limit) & kept)
        grids[rows] = choose((media.width[rows], media.height[rows]), limit)
    return grids


def tiled(grids: Ints, tile: int, use_thumbnail: bool) -> tuple[Drawn, Ints]:
    """Pictures stretched to these grids and cut, and [n] views; a thumbnail of several tiles."""
    tiles = grids.prod(axis=1)
    thumbnail = (tiles > 1) & use_thumbnail
    small = Thumbnail(where=thumbnail * LAST, wh=square(tile, thumbnail))
    pictures = drawn(grids * tile, crops=tile_boxes(grids, tile), thumbnail=small)
    return pictures, tiles + thumbnail


def rect_boxes(grids: Ints, tile_wh: Ints) -> Ragged:
    """The same for tiles [n, 2] of a size of their own for each picture."""
    boxes = tile_boxes(grids, 1)
    scale = np.repeat(np.tile(tile_wh, 2), boxes.counts, axis=0)
    return Ragged(boxes.values * scale, boxes.offsets)


def tile_boxes(grids: Ints, tile: int) -> Ragged:
    """[left, top, right, bottom] of every tile, row by row; empty for one tile or none."""
    most = int(grids.max(initial=0)) + 1
    kind = grids[:, 0] * most + grids[:, 1]
    kinds = np.flatnonzero(np.bincount(kind))
    boxes = [
        (column * tile, row * tile, (column + 1) * tile, (row + 1) * tile)
        for columns, rows in (divmod(one, most) for one in kinds.tolist())
        for row in range(rows)
        for column in range(columns)
        if columns * rows > 1
    ]
    counts = kinds // most * (kinds % most)
    table = np.array(boxes, np.int64).reshape(-1, 4)
    return Ragged.from_counts(table, np.where(counts > 1, counts, 0)).take(
        np.searchsorted(kinds, kind)
    )
