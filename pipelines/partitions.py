"""Partitions: which source files belong together, in a total order that versions keep.

- A source with `partition`, a pattern with named groups, puts a file where its path says:
  `date=2026-01-02`.
- The files of other sources come in generations: what the published version has stays where it is,
  and all that is new is the next generation, `0`, `1`, ...
Published partitions keep their order; new ones come behind, sorted. Nothing crosses a partition,
so new files leave old shards as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from schemas.errors import RecipeError


@dataclass(frozen=True, order=True)
class SourceFile:
    """One file of a source; `path` as its blocks name it."""

    source: str
    path: str


Published = Mapping[SourceFile, str]
"""The files of the published version and their partitions, in the order of the partitions."""


def partitions_of(
    files: Sequence[SourceFile], patterns: Mapping[str, str | None], published: Published
) -> dict[str, list[SourceFile]]:
    """Partition name to its files, both in order; `patterns` has one for each source, or None.

    Raises RecipeError for a file whose path its source's pattern does not match.
    """
    next_generation = str(_generations(published.values()))
    named: dict[str, list[SourceFile]] = {}
    for file in files:
        pattern = patterns[file.source]
        if pattern is not None:
            name = _named(pattern, file)
        else:
            name = published.get(file, next_generation)
            if not name.isdecimal():  # the source had a pattern then
                name = next_generation
        named.setdefault(name, []).append(file)
    kept = [name for name in dict.fromkeys(published.values()) if name in named]
    new = sorted(set(named).difference(kept), key=_natural)
    return {name: named[name] for name in (*kept, *new)}


def _generations(names: Iterable[str]) -> int:
    """Generations that there are, so the number of the next one."""
    return max((int(name) + 1 for name in names if name.isdecimal()), default=0)


def _named(pattern: str, file: SourceFile) -> str:
    found = re.search(pattern, file.path)
    if not found:
        what = f"{file.path} does not match the pattern {pattern!r}"
        raise RecipeError(f"sources.{file.source}.partition: {what}")
    # a group that took no part is as good as an empty one
    return ",".join(f"{key}={value or ''}" for key, value in found.groupdict().items())


def _natural(name: str) -> tuple[object, ...]:
    """`2` before `10`, generations before named partitions; `01` and `1` are of no other rank."""
    pieces = re.split(r"([0-9]{1,18})", name)
    ranks = [(int(piece), "") if n % 2 else (-1, piece) for n, piece in enumerate(pieces)]
    return (not name.isdecimal(), ranks, name)
