"""The sources of a recipe as they lie on disk: folders, files and what is read how.

A source of InternVL's format names a meta file; each of its data sets becomes a source of its own,
`<source>.<name>`, with its weight and, for policies that have one, its most tiles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from pipelines.partitions import SourceFile
from pipelines.recipe import PolicyRule, Recipe, Source
from schemas.errors import RecipeError
from workers.match import Match, Rule
from workers.sources import internvl_jsonl
from workers.storage.folder import Folder, folder_of
from workers.storage.local import LocalFolder
from workers.storage.snapshot import snapshot

EXTENSIONS = {
    "records": (".jsonl",),
    "llava_json": (".json", ".jsonl"),
    "webdataset": (".tar", ".tar.gz", ".tgz"),
    "parquet": (".parquet",),
}
"""What is taken of a folder, where `path` is one."""

READ_WHERE_THEY_LIE = ("webdataset", "parquet", "folder")
"""Kinds whose files are, or hold, the media: they lie below the root."""

_WILD = re.compile(r"\*\*/|\*\*|\*")
_MEANS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}


@dataclass(frozen=True)
class OpenSource:
    """One source: where its files and its media lie, and how they are read."""

    name: str
    kind: str
    options: Any
    files: Folder
    pattern: str
    """Of its files, below `files`; of a folder of media, the folder."""
    root: Folder
    weight: float
    prompt_suffix: str
    partition: str | None
    max_tiles: int | None = None

    def listed(self) -> list[SourceFile]:
        """Its files, sorted. Raises RecipeError where there is none."""
        if self._is_many:
            found = [path for path, _ in self.files.list() if self._takes(path)]
        else:
            found = [self.pattern] if self.files.stat(self.pattern) else []
        if not found:
            where = f"{self.files.url}/{self.pattern.lstrip('/')}"
            raise RecipeError(f"sources.{self.name}.path: {where}: no such file")
        return [SourceFile(self.name, path) for path in sorted(found)]

    @property
    def _is_many(self) -> bool:
        return bool(_WILD.search(self.pattern)) or self.pattern.endswith("/")

    def _takes(self, path: str) -> bool:
        if self.pattern.endswith("/"):
            inside = path.startswith(self.pattern.lstrip("/"))
            return inside and path.endswith(EXTENSIONS[self.kind])
        literal = map(re.escape, _WILD.split(self.pattern))
        wild = (_MEANS[found] for found in _WILD.findall(self.pattern))
        pieces = chain.from_iterable(zip_longest(literal, wild, fillvalue=""))
        return re.fullmatch("".join(pieces), path) is not None


def open_sources(recipe: Recipe) -> list[OpenSource]:
    """Every source of the recipe. Raises RecipeError where a folder or a meta file is not there."""
    sources = [opened for source in recipe.sources for opened in _opened(source)]
    for source in sources:
        if isinstance(source.root, LocalFolder) and not source.root.root.is_dir():
            raise RecipeError(f"sources.{source.name}.root: {source.root.url} is not a folder")
    seen = {folder.url: snapshot(folder) for one in sources for folder in (one.files, one.root)}
    return [replace(one, files=seen[one.files.url], root=seen[one.root.url]) for one in sources]


def rules_of(recipe: Recipe, sources: Sequence[OpenSource]) -> list[Rule]:
    """The policies in order; before one that knows `max_num`, a copy for each data set of a meta
    file that states its most tiles.
    """
    return [rule for one in recipe.policy for rule in (*_copies(one, sources), _rule(one))]


def _rule(one: PolicyRule) -> Rule:
    return Rule(one.policy, one.match)


def _copies(one: PolicyRule, sources: Sequence[OpenSource]) -> Iterator[Rule]:
    if "max_num" not in type(one.policy).model_fields:
        return
    for source in sources:
        wanted = not one.match.source or any(
            name in (source.name, source.name.partition(".")[0]) for name in one.match.source
        )
        if source.max_tiles is None or not wanted:
            continue
        own = one.policy.model_dump(exclude_unset=True)
        least = min(own.get("min_num", 1), source.max_tiles)
        policy = type(one.policy).model_validate(
            own | {"min_num": least, "max_num": source.max_tiles}
        )
        match = one.match.model_dump() | {"source": (source.name,)}
        yield Rule(policy, Match.model_validate(match))


def _opened(source: Source) -> Iterator[OpenSource]:
    kind = source.options.kind
    files, pattern, root = _places(source)
    common = (source.prompt_suffix, source.partition)
    if kind in READ_WHERE_THEY_LIE:
        _below(root, files, pattern, source)
    if kind != "internvl_jsonl":
        yield OpenSource(
            source.name, kind, source.options, files, pattern, root, source.weight, *common
        )
        return
    if not pattern or pattern == "/" or _WILD.search(pattern):
        raise RecipeError(f"sources.{source.name}.path: {source.path}: expected a meta file")
    for entry in internvl_jsonl.entries(root, _below(root, files, pattern, source)):
        media = folder_of(f"{root.url}/{entry.root}") if entry.root else root
        yield OpenSource(
            f"{source.name}.{entry.name}",
            kind,
            source.options,
            root,
            entry.annotation,
            media,
            source.weight * entry.repeat_time,
            *common,
            max_tiles=entry.max_dynamic_patch,
        )


def _places(source: Source) -> tuple[Folder, str, Folder]:
    """The folder of the source's files, their pattern below it, and the folder of its media."""
    base, pattern = _split(source)
    root = folder_of(source.root) if source.root else folder_of(base)
    if source.root and (f"{base}/").startswith(f"{root.url}/"):
        between = base[len(root.url) + 1 :]
        return root, f"{between}/{pattern.lstrip('/')}" if between else pattern, root
    return folder_of(base), pattern, root


def _split(source: Source) -> tuple[str, str]:
    """The part of the path before any wildcard, up to a slash, and the rest."""
    path = source.path
    if source.options.kind == "folder" or path.endswith("/") or _is_folder(path):
        return path.rstrip("/"), "/" if source.options.kind != "folder" else ""
    wild = _WILD.search(path)
    cut = path.rfind("/", 0, wild.start() if wild else len(path))
    return path[:cut] or "/", path[cut + 1 :]


def _is_folder(path: str) -> bool:
    """Whether a local path without wildcard is a folder; of S3, only a slash at its end says so."""
    return "://" not in path and Path(path).is_dir()


def _below(root: Folder, files: Folder, pattern: str, source: Source) -> str:
    if files.url != root.url:
        what = f"{source.path} must lie below the source's root, {root.url}"
        raise RecipeError(f"sources.{source.name}.path: {what}")
    return pattern
