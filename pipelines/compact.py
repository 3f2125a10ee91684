"""compact: small neighbouring partitions become one, so that packs and fillers of many nights are
packed together.

The merged partition is planned like any other; its payloads are known by content, so none is
rendered. The others keep their shards, and earlier versions theirs.
"""

from __future__ import annotations

from pipelines.partitions import merged_name
from schemas.errors import RecipeError
from schemas.manifest import Manifest


def compacted(base: Manifest, first: str, last: str) -> tuple[Manifest, str]:
    """The version as if the partitions from `first` to `last` were one, and the name of that one.

    Its entry is a stand-in that only its name, place and files count of: it has to be made.
    Raises RecipeError where these are not two or more neighbours of the version.
    """
    names = [entry.name for entry in base.partitions]
    for name in (first, last):
        if name not in names:
            raise RecipeError(f"partition {name!r}: there are {', '.join(names)}")
    start, end = names.index(first), names.index(last)
    if start >= end:
        raise RecipeError(f"partitions {first!r} to {last!r}: their order is {', '.join(names)}")
    merged = base.partitions[start : end + 1]
    into = merged_name([entry.name for entry in merged])
    holds = [name for entry in merged for name in (entry.merged or [entry.name])]
    one = merged[0].model_copy(update={"name": into, "merged": holds})
    partitions = [*base.partitions[:start], one, *base.partitions[end + 1 :]]
    return base.model_copy(update={"partitions": partitions}), into
