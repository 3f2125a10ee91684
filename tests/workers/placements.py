"""Geometry rows for tests: where the pixels of a picture go."""

from __future__ import annotations

from patchpack.item_geometry import Placement


def placement(
    resized: tuple[int, int],
    canvas: tuple[int, int] | None = None,
    xy: tuple[int, int] = (0, 0),
    view: tuple[int, int] | None = None,
    crops: list[list[int]] | None = None,
) -> Placement:
    """Of a picture without a thumbnail."""
    return {
        "resized_wh": list(resized),
        "canvas_wh": list(canvas or resized),
        "paste_xy": list(xy),
        "view_wh": list(view or canvas or resized),
        "crops_ltrb": crops or [],
        "thumbnail": "none",
        "thumbnail_of": "source",
        "thumbnail_wh": [0, 0],
        "thumbnail_resized_wh": [0, 0],
        "thumbnail_xy": [0, 0],
    }
