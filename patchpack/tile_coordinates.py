"""Where the patches of tiled pictures are: InternVL, LLaVA AnyRes and what else cuts crops.

Tiles have position embeddings of their own, so a model cannot tell from them which tile lies where.
These are the coordinates for what is added to it: the tile's row and column, and the middle of
each patch on the source picture, by the way that its pixels took (`view_maps`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchpack.item_geometry import grids_of, item_geometry
from patchpack.layout import FormatError, Pack
from patchpack.view_maps import to_source, view_maps

THUMBNAIL = -1
"""Row and column of the view that shows the whole picture beside its tiles."""


def tile_places(pack: Pack, item: int) -> npt.NDArray[np.int64]:
    """[views, 2] row and column of each view of a picture, in the order of `grid_thw`; of a video,
    those of one frame.
    """
    geometry = item_geometry(pack, item)
    crops = np.array(geometry["crops_ltrb"], np.int64).reshape(-1, 4)
    rows, columns = (np.unique(crops[:, axis], return_inverse=True)[1] for axis in (1, 0))
    places = np.stack([rows, columns], axis=1) if len(crops) else np.zeros((1, 2), np.int64)
    whole = np.full((1, 2), THUMBNAIL)
    if geometry["thumbnail"] == "none":
        return places
    order = [whole, places] if geometry["thumbnail"] == "first" else [places, whole]
    return np.concatenate(order)


def patch_places(pack: Pack, item: int) -> npt.NDArray[np.float64]:
    """[patches, 2] y and x of the middle of each patch as shares of the source picture's height and
    width, in the order of `grid_thw`, row by row; outside of 0..1 on padding.

    Raises FormatError where the views are not those of the grids.
    """
    source, geometry = pack.header.item_source_wh[item], item_geometry(pack, item)
    sized = all(source) and all(geometry["canvas_wh"]) and all(geometry["view_wh"])
    maps = view_maps(source, geometry) if sized else []
    grids = grids_of(pack, item)
    if not maps or not grids or len(grids) % len(maps):
        what = f"{len(maps)} views do not give {len(grids)} grids"
        raise FormatError(f"pack {pack.header.key}: item {item}: {what}")
    found = []
    for number, (frames, rows, columns) in enumerate(grids):
        view = maps[number % len(maps)]
        y, x = np.mgrid[0:rows, 0:columns] + 0.5
        xy = np.stack([x / columns * view.size[0], y / rows * view.size[1]], axis=-1)
        places = (to_source(xy, view) / source)[..., ::-1].reshape(-1, 2)
        found.append(np.tile(places, (frames, 1)))
    return np.concatenate(found)
