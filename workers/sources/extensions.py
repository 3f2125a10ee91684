"""Which files hold media, by the end of their names; what they really hold, their bytes decide."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import Literal

from workers.headers import EXTENSIONS

IMAGES = frozenset(chain.from_iterable(EXTENSIONS.values()))
VIDEOS = frozenset(("avi", "flv", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ogv", "webm", "wmv"))


def media_kind(name: str) -> Literal["image", "video"] | None:
    """What a file of this name, or with this extension, should hold; None where it is no medium.

    >>> media_kind("17.0.JPG"), media_kind("mp4"), media_kind("17.json")
    ('image', 'video', None)
    """
    return _kind(name.rpartition(".")[2])


@lru_cache(1024)
def _kind(extension: str) -> Literal["image", "video"] | None:
    if extension.lower() in IMAGES:
        return "image"
    return "video" if extension.lower() in VIDEOS else None
