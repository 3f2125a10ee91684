"""What every folder says of its files, and which paths it takes."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.errors import BuildError


@dataclass(frozen=True, slots=True)
class Stat:
    """A file as it is now. The version changes with the content, and is never part of a digest."""

    size: int
    version: str  # local: modification time in ns; S3: the ETag
    modified_s: float = field(default=0.0, compare=False)
    """When it was written, by the storage's clock, in seconds since 1970; at S3 whole ones."""


Listing = list[tuple[str, Stat]]


def inside(url: str, path: str) -> str:
    """The path, if it stays in the folder. Sources check theirs before; this is the second lock."""
    if path.startswith("/") or ".." in path.split("/"):
        raise BuildError(f"{url}: the path {path!r} leaves the folder")
    if "\0" in path or not is_text(path):
        raise BuildError(f"{url}: the path {path!r} is no name of a file")
    return path


def changed(url: str) -> BuildError:
    """The error for a file that is not what it was."""
    return BuildError(f"{url} changed while the build read it; build again")


def is_text(path: str) -> bool:
    """Whether the name is UTF-8: others can be had from a disk, but be stored in no table."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_temporary(path: str) -> bool:
    """Whether a file is one that is being written, which no listing shows."""
    name = path.rpartition("/")[2]
    return name.startswith(".") and name.endswith(".tmp")
