"""backfill: chosen partitions are made again into a new version, on demand from a stage on.

Which partitions, `build` is told. A stage means that what is finished of it, and of all stages
behind it, does not count. It counts again when it is newer than a mark in the cache, written when
the backfill begins and removed when it is done: one that was stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from pipelines.assemble import recipe_digest
from pipelines.steps import Workshop
from pipelines.store import Redo
from schemas.digest import spec_digest

Stage = Literal["survey", "caption", "tokenize", "select", "size", "pack", "render", "assemble"]

FOLDERS: dict[Stage, tuple[str, ...]] = {
    "survey": ("surveyed",),
    "caption": ("asked", "captioned"),
    "tokenize": ("tokenized",),
    "select": ("selected",),
    "size": ("sized",),
    "pack": ("packed",),
    "render": ("addressed", "rendered"),
    "assemble": ("assembled",),
}
"""The stages in order, and the folders of the cache that each writes; `assembled` are shards."""

MARKS = "redo"
"""The folder of the cache where marks lie."""


def folders_from(stages: Collection[Stage]) -> frozenset[str]:
    """The folders of the first of these stages and of all behind it."""
    names = list(FOLDERS)
    first = min((names.index(stage) for stage in stages), default=len(names))
    return frozenset(folder for stage in names[first:] for folder in FOLDERS[stage])


@contextmanager
def redoing(
    workshop: Workshop, only: Collection[str], stages: Collection[Stage]
) -> Iterator[Workshop]:
    """The workshop of a build that makes these stages again, of partitions `only` or of all."""
    if not stages:
        yield workshop
        return
    cache, folders = workshop.store.folder, folders_from(stages)
    wanted = {
        "recipe": recipe_digest(workshop.recipe),
        "partitions": sorted(only),
        "folders": sorted(folders),
    }
    mark = f"{MARKS}/{spec_digest(wanted)[:32]}.json"
    if cache.stat(mark) is None:
        cache.write_whole(mark, json.dumps(wanted, indent=1).encode())
    begun = cache.stat(mark)
    assert begun is not None  # nobody else ends this backfill
    yield replace(workshop, redo=Redo(folders, begun.modified_s))
    cache.delete(mark)  # not after an exception
