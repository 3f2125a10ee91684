"""Partitions: which source files belong together, in a total order that versions keep.

- A source with `partition`, a pattern with named groups, puts a file where its path says:
  `date=2026-01-02`.
- The files of other sources come in generations: what the published version has stays where it is,
  and all that is new is the next generation, `0`, `1`, ...
- Neighbours that were made one by `compact` stay one, `1..5`: also new files of theirs go there.
Published partitions keep their order; new ones come behind, sorted. Nothing crosses a partition,
so new files leave old shards as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from schemas.errors import RecipeError

_TO = ".."


@dataclass(frozen=True, order=True)
class SourceFile:
    """One file of a source; `path` as its blocks name it."""

    source: str
    path: str


@dataclass(frozen=True)
class Published:
    """What the published version says of partitions."""

    files: Mapping[SourceFile, str] = field(default_factory=dict)
    """Its files and their partitions, in the order of the partitions."""
    homes: Mapping[str, str] = field(default_factory=dict)
    """Partitions that were merged, and the partition that has their files now."""


def merged_name(names: Sequence[str]) -> str:
    """The name of these neighbours as one partition: `1..5`."""
    first, last = names[0].partition(_TO)[0], names[-1].rpartition(_TO)[2]
    return f"{first}{_TO}{last}"


def partitions_of(
    files: Sequence[SourceFile], patterns: Mapping[str, str | None], published: Published
) -> dict[str, list[SourceFile]]:
    """Partition name to its files, both in order; `patterns` has one for each source, or None.

    Raises RecipeError for a file whose path its source's pattern does not match.
    """
    next_generation = str(_generations(published.files.values()))
    named: dict[str, list[SourceFile]] = {}
    for file in files:
        pattern = patterns[file.source]
        if pattern is not None:
            name = _named(pattern, file)
            name = published.homes.get(name, name)
        else:
            name = published.files.get(file, next_generation)
            if not _is_generation(name):  # the source had a pattern then
                name = next_generation
        named.setdefault(name, []).append(file)
    kept = [name for name in dict.fromkeys(published.files.values()) if name in named]
    new = sorted(set(named).difference(kept), key=_natural)
    return {name: named[name] for name in (*kept, *new)}


def _generations(names: Iterable[str]) -> int:
    """Generations that there are, so the number of the next one."""
    last = (name.rpartition(_TO)[2] for name in set(names) if _is_generation(name))
    return max((int(number) + 1 for number in last), default=0)


def _is_generation(name: str) -> bool:
    return name.replace(_TO, "").isdecimal()


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
